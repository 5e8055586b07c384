"""Over TLS: whom we trust, how we show who we are, what goes through a proxy, and tokens from a real login."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest
from tests.certificates import Authority, Issued

from tundish.core.errors import BackendError
from tundish.providers.errors import SpecInvalid
from tundish.providers.remote import remote_backend
from tundish.providers.spec import EntraId, RemoteSpec, Tls, fixed

from .conftest import ANSWER, CHUNKS, Provider, asking, events, relay, streamed


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def server_context(issued: Issued) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


@pytest.fixture
async def secure(authority: Authority):
    """Starts a provider behind a certificate."""
    servers = []

    async def listen(*, mutual: bool = False, days: int = 5) -> Provider:
        made = Provider()
        context = server_context(authority.issue(days=days))
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(authority.file)
        servers.append((await made.listen(context), made))
        return made

    yield listen
    for server, made in servers:
        server.close()
        for writer in made.open:
            writer.transport.abort()
        while made.open:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def over_tls(provider: Provider, host: str = "localhost", **more) -> RemoteSpec:
    return RemoteSpec(**{"base_url": f"https://{host}:{provider.port}/v1", "model": "m"} | more)


async def test_our_own_authority(secure, started, authority: Authority) -> None:
    provider = await secure()
    provider.answer = streamed(events(*CHUNKS, b"[DONE]"))
    backend = await started(over_tls(provider, tls=Tls(ca_file=authority.file)))
    for _ in range(3):
        await relay(backend, asking(stream=True))
    assert provider.connections == 1


async def test_a_stranger_is_told_nothing(secure, started) -> None:
    provider = await secure()
    backend = await started(over_tls(provider))  # the system does not know our authority
    with pytest.raises(BackendError, match="cannot be reached"):
        await relay(backend, asking())
    assert not provider.asked


async def test_a_certificate_that_has_expired(secure, started, authority: Authority) -> None:
    provider = await secure(days=-1)
    backend = await started(over_tls(provider, tls=Tls(ca_file=authority.file)))
    with pytest.raises(BackendError, match="cannot be reached") as caught:
        await relay(backend, asking())
    assert "expired" in caught.value.detail
    assert not provider.asked


async def test_both_sides_show_a_certificate(secure, started, authority: Authority) -> None:
    provider = await secure(mutual=True)
    ours = authority.issue("client", passphrase=b"pass")
    shown = Tls(ca_file=authority.file, client_cert=ours.certificate, client_key=ours.key, client_key_password="pass")
    assert await relay(await started(over_tls(provider, tls=shown)), asking())
    with pytest.raises(BackendError):
        await relay(await started(over_tls(provider, tls=Tls(ca_file=authority.file))), asking())
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        (lambda a, i: Tls(ca_file=Path("/no/such.pem")), "CA file"),
        (lambda a, i: Tls(ca_file=i.key), "CA file"),
        (lambda a, i: Tls(client_cert=Path("/no/such.pem")), "client certificate"),
        (lambda a, i: Tls(client_cert=i.certificate), "client certificate"),
        (lambda a, i: Tls(client_cert=i.certificate, client_key=i.key, client_key_password="x"), "client certificate"),
        (lambda a, i: Tls(client_cert=i.certificate, client_key=i.key), "client certificate"),
        (lambda a, i: Tls(client_key=i.key), "client_cert"),
    ],
)
def test_files_that_cannot_be_used_are_said_before_anything_is_sent(authority: Authority, tls, said: str) -> None:
    issued = authority.issue("client", passphrase=b"pass")
    with pytest.raises(SpecInvalid, match=said):
        remote_backend(RemoteSpec(base_url="https://h/v1", model="m", tls=tls(authority, issued)))


class Tunnel:
    """A proxy that does what it is asked, and remembers it."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.refuses = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        target = head.split(" ")[1]
        if self.refuses:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        address = target if head.startswith("CONNECT") else target.removeprefix("http://").split("/")[0]
        host, _, port = address.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        if head.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            back.write(head.replace(f"http://{address}", "", 1).encode())
        await asyncio.gather(pipe(reader, back), pipe(there, writer))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def tunnel():
    made = Tunnel()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await asyncio.sleep(0.05)


async def test_https_is_tunnelled(secure, started, authority: Authority, tunnel: Tunnel) -> None:
    provider = await secure()
    proxy = f"http://user:pa%20ss@127.0.0.1:{tunnel.port}"
    backend = await started(over_tls(provider, tls=Tls(ca_file=authority.file), proxy=proxy))
    assert (await relay(backend, asking()))[0] == ANSWER
    (head,) = tunnel.heads
    assert head.startswith(f"CONNECT localhost:{provider.port} HTTP/1.1\r\n")
    assert f"proxy-authorization: Basic {base64.b64encode(b'user:pa ss').decode()}" in head
    assert "proxy-authorization" not in provider.asked[0].headers
    await backend.stop()


async def test_http_is_handed_to_the_proxy(provider, started, tunnel: Tunnel) -> None:
    spec = RemoteSpec(base_url=f"{provider.url}/v1", model="m", proxy=f"http://127.0.0.1:{tunnel.port}")
    backend = await started(spec)
    assert (await relay(backend, asking()))[0] == ANSWER
    assert tunnel.heads[0].startswith(f"POST {provider.url}/v1/chat/completions HTTP/1.1\r\n")
    await backend.stop()


async def test_a_proxy_that_refuses(secure, started, tunnel: Tunnel) -> None:
    provider = await secure()
    tunnel.refuses = True
    backend = await started(over_tls(provider, proxy=f"http://127.0.0.1:{tunnel.port}"))
    with pytest.raises(BackendError) as caught:
        await relay(backend, asking())
    assert "407" in caught.value.detail
    assert str(tunnel.port) not in caught.value.message


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://h:1", "http://user:hunter2@", "http://[::1"])
def test_what_is_no_proxy_is_said_without_its_password(proxy: str) -> None:
    with pytest.raises(SpecInvalid, match="proxy") as caught:
        remote_backend(RemoteSpec(base_url="https://h/v1", model="m", proxy=proxy))
    assert "hunter2" not in str(caught.value)


class LoginService:
    """What azure-identity asks of Entra ID: where the tokens are, and then one."""

    def __init__(self) -> None:
        self.forms: list[str] = []
        self.given = 0
        self.refuses = False
        self.url = ""
        self.open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
                form = (await reader.readexactly(length)).decode()
                status, body = 200, self._discovery()
                if head.startswith("post"):
                    self.forms.append(form)
                    status, body = self._token()
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
                    f"{body}".encode()
                )
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()
            self.open.discard(writer)

    def _discovery(self) -> str:
        return (
            f'{{"token_endpoint":"{self.url}/t-1/oauth2/v2.0/token","issuer":"{self.url}/t-1/v2.0",'
            f'"authorization_endpoint":"{self.url}/t-1/oauth2/v2.0/authorize"}}'
        )

    def _token(self) -> tuple[int, str]:
        if self.refuses:
            return 401, '{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret."}'
        self.given += 1
        return 200, f'{{"token_type":"Bearer","expires_in":3600,"access_token":"token-{self.given}"}}'


@pytest.fixture
async def login(authority: Authority):
    made = LoginService()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=server_context(authority.issue("login")))
    made.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
    for writer in made.open:
        writer.transport.abort()
    while made.open:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("api_version", "scope"),
    [(None, "https%3A%2F%2Fai.azure.com%2F.default"), ("v", "https%3A%2F%2Fcognitiveservices.azure.com%2F.default")],
)
async def test_entra_id_logs_in_once_for_the_scope_of_the_path(
    secure, started, authority: Authority, login: LoginService, api_version, scope: str
) -> None:
    provider = await secure()
    auth = EntraId(
        tenant_id="t-1",
        client_id="c-1",
        client_secret=fixed("s3cret"),
        authority=login.url,
        ca_file=authority.file,
    )
    backend = await started(
        RemoteSpec(
            profile="azure",
            base_url=f"https://localhost:{provider.port}",
            model="m",
            api_version=api_version,
            auth=auth,
            tls=Tls(ca_file=authority.file),
        )
    )
    await asyncio.gather(*(relay(backend, asking()) for _ in range(5)))
    await backend.stop()
    assert {asked.headers["authorization"] for asked in provider.asked} == {"Bearer token-1"}
    assert all("api-key" not in asked.headers for asked in provider.asked)
    (form,) = login.forms
    assert f"scope={scope}" in form
    assert "client_secret=s3cret" in form


async def test_a_login_that_is_refused_says_so(provider, started, authority: Authority, login: LoginService) -> None:
    login.refuses = True
    auth = EntraId(
        tenant_id="t-1", client_id="c-1", client_secret=fixed("bad"), authority=login.url, ca_file=authority.file
    )
    backend = await started(RemoteSpec(profile="azure", base_url=provider.url, model="m", auth=auth))
    with pytest.raises(BackendError, match="credentials") as caught:
        await relay(backend, asking())
    assert "AADSTS7000215" in caught.value.detail
    assert "AADSTS7000215" not in caught.value.message
    assert not provider.asked
    assert backend.status().slots_busy == 0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"profile": "openai", "auth": EntraId()}, "no tokens of Entra ID"),
        ({"profile": "azure", "auth": EntraId(client_secret=fixed("x"))}, "tenant_id"),
        ({"profile": "openai", "api_version": "v1"}, "api_version"),
        ({"profile": "no-such"}, "Known profiles"),
        ({"model": ""}, "model"),
        ({"base_url": ""}, "base_url"),
        ({"base_url": "ftp://h"}, "http or https"),
        ({"base_url": "https://h:port"}, "URL"),
        ({"headers": {"x": "a\nb"}}, "header"),
        ({"profile": "azure", "api_version": "1\r\nx: y", "model": "日本"}, None),
    ],
)
def test_a_description_that_cannot_work(spec: dict, said: str | None) -> None:
    given = RemoteSpec(**{"base_url": "https://h/v1", "model": "m"} | spec)
    if said is None:
        remote_backend(given)  # percent-encoded
        return
    with pytest.raises(SpecInvalid, match=said):
        remote_backend(given)
