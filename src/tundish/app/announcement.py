"""How an endpoint tells where it is: in a file for commands, on the screen for people."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Generator, Sequence

from tundish import __version__
from tundish.access import endpoint_file
from tundish.access.endpoint_file import EndpointRecord
from tundish.app.access import Access
from tundish.settings import Settings

_log = logging.getLogger("tundish")


def url_of(settings: Settings, port: int) -> str:
    """How this machine reaches an endpoint that listens on `port`."""
    host = settings.host
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def record_of(settings: Settings, access: Access, url: str, *, started_s: float) -> EndpointRecord:
    """How the commands of this machine reach the endpoint of this process; `started_s` is Unix time."""
    return EndpointRecord(
        url=url,
        pid=os.getpid(),
        started_s=started_s,
        version=__version__,
        key_file=None if access.kept_in is None else str(access.kept_in),
        key_required=access.key is not None,
        certificate_file=None if settings.tls_cert is None else str(settings.tls_cert.absolute()),
    )


@contextlib.contextmanager
def announced(settings: Settings, record: EndpointRecord) -> Generator[None, None, None]:
    """While active, the commands of this machine find the endpoint."""
    try:
        endpoint_file.write(settings.endpoint_file, record)
    except OSError as error:
        _log.warning(
            "%s cannot be written (%s): `tundish status`, `run`, `chat` and `stop` will not find this endpoint",
            settings.endpoint_file,
            error.strerror or error,
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            endpoint_file.remove(settings.endpoint_file, pid=os.getpid())


def banner(url: str, access: Access, names: Sequence[str], *, first: str | None = None) -> str:
    """What is shown when an endpoint is ready.

    Args:
        url: its address.
        access: what to call it with.
        names: what can be asked for.
        first: what to show in the example; default: the first of them.
    """
    example = first or next(iter(names), "MODEL")
    shown_key = "none needed" if access.key is None else "the one in TUNDISH_API_KEY"
    if access.kept_in is not None:
        shown_key = f"{access.key}   (kept in {access.kept_in})"
    call_key = access.key if access.kept_in is not None else "KEY" if access.key else "none"
    return f"""\
Tundish {__version__} is ready: {url}/v1
Key:    {shown_key}
Models: {", ".join(names)}

from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="{call_key}")
messages = [{{"role": "user", "content": "What is 2+2?"}}]
print(client.chat.completions.create(model="{example}", messages=messages, temperature=0).choices[0].message.content)

Or in another terminal: tundish chat. Ctrl-C stops."""
