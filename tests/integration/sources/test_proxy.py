"""Plain URLs through a proxy: http requests are handed to it, https connections are tunnelled."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import os
import ssl
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tundish.sources.errors import SourceRefused
from tundish.sources.plain_http import PlainHttp
from tundish.sources.transport import TransportFailed

BODY = b"the body" * 100_000


class Proxy:
    """Does what it is told, and remembers it."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.answer = b"200 Connection established"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        target = head.split(" ")[1]
        if head.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 " + self.answer + b"\r\n\r\n")
            if not self.answer.startswith(b"200"):
                writer.close()
                return
            host, _, port = target.rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            await asyncio.gather(self._pipe(reader, back), self._pipe(there, writer))
            return
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY)
        await writer.drain()
        writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def proxy():
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://user:pass%20word@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield proxy
    server.close()


def certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
async def secure_url(tmp_path: Path):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY)
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/model.gguf"
    server.close()


async def body_of(http: PlainHttp, url: str) -> bytes:
    body = bytearray()
    async with http.get(url, {}, stall_s=5) as response:
        assert response.status == 200
        while await response.receive(body.extend):
            pass
    return bytes(body)


async def test_http_is_handed_to_the_proxy(proxy) -> None:
    http = PlainHttp(proxy_for=lambda _: proxy.url)
    assert await body_of(http, "http://models.example/a.gguf?x=1") == BODY
    assert proxy.heads[0].startswith("GET http://models.example/a.gguf?x=1 HTTP/1.1")
    assert "\r\nHost: models.example\r\n" in proxy.heads[0]
    assert base64.b64encode(b"user:pass word").decode() in proxy.heads[0]


async def test_https_is_tunnelled_and_the_certificate_is_the_servers(proxy, secure_url) -> None:
    http = PlainHttp(proxy_for=lambda _: proxy.url)
    with pytest.raises(SourceRefused, match="SSL_CERT_FILE"):
        await body_of(http, secure_url)
    assert proxy.heads[0].startswith("CONNECT 127.0.0.1:")
    assert base64.b64encode(b"user:pass word").decode() in proxy.heads[0]


async def test_a_proxy_that_refuses(proxy, secure_url) -> None:
    proxy.answer = b"407 Proxy Authentication Required"
    http = PlainHttp(proxy_for=lambda _: proxy.url)
    with pytest.raises(TransportFailed, match="407"):
        await body_of(http, secure_url)


async def test_https_through_a_tunnel(proxy, secure_url, tmp_path: Path) -> None:
    """In a process of its own, which is told to trust the certificate as a user would: SSL_CERT_FILE."""
    script = (
        "import asyncio, sys\n"
        "from tundish.settings import proxy_for\n"
        "from tundish.sources.plain_http import PlainHttp\n"
        "async def main():\n"
        "    body = bytearray()\n"
        "    async with PlainHttp(proxy_for=proxy_for).get(sys.argv[1], {}, stall_s=5) as response:\n"
        "        while await response.receive(body.extend):\n"
        "            pass\n"
        "    print(len(body))\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, secure_url,
        env={**os.environ, "SSL_CERT_FILE": f"{tmp_path}/certificate.pem", "HTTPS_PROXY": proxy.url, "NO_PROXY": ""},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert out.decode().strip() == str(len(BODY)), err.decode()
    assert proxy.heads[0].startswith("CONNECT")
