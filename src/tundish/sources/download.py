"""One file over HTTP: ranged, resumed, retried, hashed while it is written, in flat memory."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tundish.sources.errors import RemoteChanged, SourceRefused, SourceUnreachable, WrongContent
from tundish.sources.partial_file import PartialFile, RemoteFile
from tundish.sources.retry import RETRIED_STATUSES, RetryPolicy, retry_after_s
from tundish.sources.transport import Response, Transport, TransportFailed, following_redirects, shown

_REAL_PROGRESS_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_MAX_RESTARTS = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """What to fetch, and what it must be where that is known."""

    url: str
    name: str
    """For people."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def identity(self) -> str:
        """What a part from an earlier attempt must belong to."""
        return self.url if self.sha256 is None else f"sha256:{self.sha256}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A whole file, durable on disk."""

    size_bytes: int
    sha256: str


class Watcher:
    """Hears how a download goes; does nothing by itself."""

    def size_known(self, size_bytes: int) -> None:
        """The source said how long the file is. May raise (no room)."""

    def arrived(self, total_bytes: int) -> None:
        """So many bytes are here; fewer than before after starting over."""

    def note(self, text: str) -> None:
        """Something that a person would want to know."""


class _Interrupted(Exception):
    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class _StartOver(Exception):
    """The remote file is not the one that the bytes so far belong to."""


async def download(
    transport: Transport,
    request: FileRequest,
    path: Path,
    note: Path,
    *,
    policy: RetryPolicy,
    watcher: Watcher,
) -> Arrived:
    """Fetch `request` into `path`, going on from what an earlier attempt left there; `note` keeps the progress.

    Raises:
        SourceRefused, SourceUnreachable, WrongContent, RemoteChanged: see `sources.errors`.
        OSError: the disk is full or cannot be written; what has arrived is kept.
    """
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="tundish-download") as disk:
        attempt = _Download(transport, request, PartialFile(path, note), disk, policy, watcher)
        return await attempt.run()


class _Download:
    def __init__(
        self,
        transport: Transport,
        request: FileRequest,
        partial: PartialFile,
        disk: concurrent.futures.Executor,
        policy: RetryPolicy,
        watcher: Watcher,
    ) -> None:
        self._transport, self._request, self._partial = transport, request, partial
        self._disk, self._policy, self._watcher = disk, policy, watcher
        self._restarts = 0

    async def run(self) -> Arrived:
        try:
            await self._on_disk(self._partial.resume, self._request.identity)
            self._watcher.arrived(self._partial.size_bytes)
            while True:
                pieces = await self._fetch_all()
                await self._on_disk(self._partial.finish)
                if self._request.sha256 in (None, self._partial.sha256):
                    return Arrived(size_bytes=self._partial.size_bytes, sha256=self._partial.sha256)
                await self._refuse_hash(pieces)
        finally:
            await asyncio.shield(self._on_disk(self._partial.close))

    async def _on_disk(self, work: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    async def _refuse_hash(self, pieces: int) -> None:
        found = self._partial.sha256
        await self._start_over()
        # Put together from several answers, of which one may have been of another version: whole, it may be right.
        if pieces > 1 and self._restarts == 1:
            self._watcher.note(f"{self._request.name}: the parts do not make the right whole; starting over")
            return
        raise WrongContent(
            f"{self._request.name} from {shown(self._request.url)} has the sha256 {found}, but must have "
            f"{self._request.sha256}. It was thrown away. Either the source is damaged or it has been changed."
        )

    async def _fetch_all(self) -> int:
        """Until the file is whole; returns of how many answers it is put together."""
        failures, pieces = 0, 1 if self._partial.size_bytes else 0
        while not self._is_whole():
            before = self._partial.size_bytes
            try:
                await self._fetch_once()
                pieces += 1
            except _StartOver as changed:
                await self._start_over()
                pieces = 0
                if self._restarts > _MAX_RESTARTS:
                    raise RemoteChanged(
                        f"{self._request.name} changes at {shown(self._request.url)} while it is fetched ({changed}). "
                        "Try again when its publisher has finished."
                    ) from None
                self._watcher.note(f"{self._request.name}: {changed}; starting over")
            except (_Interrupted, TransportFailed) as failure:
                grown = self._partial.size_bytes - before
                pieces += 1 if grown > 0 else 0
                failures = 1 if grown >= _REAL_PROGRESS_BYTES else failures + 1
                await self._wait(failure, failures)
            else:
                if self._partial.remote is not None and self._partial.remote.total_bytes is None:
                    break
        return pieces

    def _is_whole(self) -> bool:
        remote = self._partial.remote
        return remote is not None and remote.total_bytes == self._partial.size_bytes

    async def _start_over(self) -> None:
        self._restarts += 1
        await self._on_disk(self._partial.restart)
        self._watcher.arrived(0)

    async def _wait(self, failure: _Interrupted | TransportFailed, failures: int) -> None:
        if failures >= self._policy.attempts:
            raise SourceUnreachable(
                f"{self._request.name} could not be fetched from {shown(self._request.url)}: {failure} ({failures} "
                "attempts in a row). What has arrived is kept; the same command goes on from there."
            ) from failure
        wait_s = failure.retry_after_s if isinstance(failure, _Interrupted) else None
        delay_s = self._policy.delay_s(failures, wait_s)
        self._watcher.note(f"{self._request.name}: {failure}; trying again in {delay_s:.1f} s")
        await asyncio.sleep(delay_s)

    async def _fetch_once(self) -> None:
        headers = {"accept-encoding": "identity", **self._request.headers, **self._range()}
        stall_s = self._policy.stall_timeout_s
        connecting = asyncio.timeout(stall_s)
        try:
            async with (
                connecting,
                following_redirects(self._transport, self._request.url, headers, stall_s=stall_s) as response,
            ):
                connecting.reschedule(None)  # from here on, each block has that time
                await self._take(response)
        except TimeoutError:
            raise _Interrupted(f"no answer for {stall_s:g} s") from None

    def _range(self) -> Mapping[str, str]:
        size_bytes, remote = self._partial.size_bytes, self._partial.remote
        if not size_bytes or remote is None:
            return {}
        wanted = {"range": f"bytes={size_bytes}-"}
        return wanted if remote.validator is None else {**wanted, "if-range": remote.validator}

    async def _take(self, response: Response) -> None:
        _refuse_failure(response, self._request)
        if response.status == 416:
            raise _StartOver("the source no longer has the part that is missing")
        remote = self._described(response)
        known = self._partial.remote
        if response.status == 206:
            self._require_continuation(response, remote)
        elif self._partial.size_bytes:
            # The whole file instead of the rest of it: another version, or a server that knows no ranges.
            await self._start_over()
            self._watcher.note(f"{self._request.name}: the source sends the whole file again")
        if known is None or not self._partial.size_bytes:
            if remote.total_bytes is not None:
                self._watcher.size_known(remote.total_bytes)
            self._partial.remote = remote
        await self._receive(response)
        self._require_end()

    def _described(self, response: Response) -> RemoteFile:
        headers = response.headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_page = self._request.name.lower().endswith((".html", ".htm"))
        if kind in ("text/html", "application/xhtml+xml") and not is_page:
            raise WrongContent(
                f"{shown(self._request.url)} answered with a web page instead of {self._request.name}. It may ask for "
                "a login or an acceptance of terms, or a proxy stands between: open the address in a browser."
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise SourceRefused(f"{shown(self._request.url)} sends the file compressed, although asked not to.")
        total = _total_bytes(response)
        expected = self._request.size_bytes
        if total is not None and expected is not None and total != expected:
            raise WrongContent(
                f"{self._request.name} has {total} bytes at {shown(self._request.url)}, but must have {expected}. The "
                "source has another file under this name."
            )
        if total is None and expected is None and self._request.sha256 is None:
            raise SourceRefused(
                f"{shown(self._request.url)} does not say how long {self._request.name} is, and nothing else says "
                "what it must be, so a broken transfer could not be told from a whole one."
            )
        return RemoteFile(
            identity=self._request.identity,
            etag=headers.get("etag"),
            last_modified=headers.get("last-modified"),
            total_bytes=expected if total is None else total,
        )

    def _require_continuation(self, response: Response, remote: RemoteFile) -> None:
        known = self._partial.remote
        found = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
        if known is None or found is None or int(found[1]) != self._partial.size_bytes:
            raise _StartOver("the source sent another part than was asked for")
        if known.total_bytes != remote.total_bytes:
            raise _StartOver("the source now has a file of another size")
        if known.etag and remote.etag and known.etag != remote.etag:
            raise _StartOver("the source now has another version")

    async def _receive(self, response: Response) -> None:
        try:
            while await response.receive(self._absorb):
                self._watcher.arrived(self._partial.size_bytes)
        finally:
            # What arrived before the connection broke, or before Ctrl-C, counts.
            self._watcher.arrived(self._partial.size_bytes)

    def _absorb(self, block: memoryview) -> None:
        """Write the next block, unless it shows that this is not the file. Called in the thread that received it."""
        here = self._partial.size_bytes
        total = self._partial.remote.total_bytes if self._partial.remote else None
        if total is not None and here + len(block) > total:
            raise _StartOver(f"the source sends more than the {total} bytes that it announced")
        if here == 0 and self._request.name.lower().endswith(".gguf") and bytes(block[:4]) != b"GGUF"[: len(block)]:
            raise WrongContent(
                f"{shown(self._request.url)} is not a GGUF file: it starts with {bytes(block[:16])!r}. Is it the "
                "right address?"
            )
        self._partial.write(block)

    def _require_end(self) -> None:
        total = self._partial.remote.total_bytes if self._partial.remote else None
        here = self._partial.size_bytes
        if total is not None and here < total:
            raise _Interrupted(f"the source ended after {here} of {total} bytes")


def _refuse_failure(response: Response, request: FileRequest) -> None:
    status = response.status
    if status in (200, 206, 416):
        return
    if status in RETRIED_STATUSES:
        wait_s = retry_after_s(response.headers.get("retry-after"))
        raise _Interrupted(f"the source answered {status}", retry_after_s=wait_s)
    reasons = {
        401: "asks for credentials. For the Hugging Face Hub: log in with `hf auth login`, or set HF_TOKEN",
        403: "forbids it. The model may be gated: accept its terms on its page, then use a token (HF_TOKEN)",
        404: "has no such file. Is the address right?",
        410: "no longer has this file",
        451: "may not give it out for legal reasons",
    }
    reason = reasons.get(status, "will not give it")
    raise SourceRefused(f"{request.name}: {shown(request.url)} answered {status}: it {reason}.")


def _total_bytes(response: Response) -> int | None:
    if response.status in (206, 416):
        total = response.headers.get("content-range", "").rpartition("/")[2]
    else:
        total = response.headers.get("content-length", "")
    return int(total) if total.isascii() and total.isdigit() else None
