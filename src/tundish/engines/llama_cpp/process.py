"""One child process: started with its options on stdin, ready when it says so, its last words kept."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import re
import sys
from collections.abc import Callable, Iterable

import msgspec

from tundish.core.errors import ModelLoadFailed
from tundish.engines.llama_cpp.child import ChildOptions, ChildReady

_LOG_LINES = 200
_LINE_LIMIT_BYTES = 1024 * 1024
_KILL_AFTER_S = 5.0
_ERROR = re.compile(r"^[\d.]+ E +(\w+: (error loading model: )?)?(?P<text>.*)")
_CONSEQUENCE = re.compile(r"exiting due to model loading|failed to load model")
_LAST_WORDS = re.compile(
    r"GGML_ASSERT|GGML_ABORT|terminate called|what\(\)|^\w*(Error|Exception)\b|error while loading", re.IGNORECASE
)
_SAYS_NOTHING = "Failed to init server"
_GRAMMAR_COMPLAINT = "llg error"


class ChildProcess:
    """A running child. Made by `spawn`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._log: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
        self._reading = asyncio.ensure_future(self._read_log())
        self.url = ""
        self.grammar_complaints = 0
        """How often llama.cpp gave up a grammar, after which it generates without one."""

    @classmethod
    async def spawn(
        cls, options: ChildOptions, *, timeout_s: float, started: Callable[[int], None] = lambda pid: None
    ) -> ChildProcess:
        """Start a child and wait until its model is loaded; `started` is told its process id before that.

        Raises:
            ModelLoadFailed: it ended or took longer than `timeout_s`; with llama.cpp's own reason.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # never import from the folder that we happen to be in
                "-m",
                "tundish.engines.llama_cpp.child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT_BYTES,
            )
        except OSError as error:
            raise ModelLoadFailed(
                f"No process can be started for {options.model_path}: {error.strerror or error}. "
                "Free memory or raise the limit on processes and open files."
            ) from error
        child = cls(process)
        started(child.pid)
        try:
            async with asyncio.timeout(timeout_s):
                child.url = await child._greet(options)
        except TimeoutError:
            child.kill()
            await child.end()
            raise ModelLoadFailed(
                f"Loading {options.model_path} took longer than {timeout_s:g} s. "
                "Allow more with TUNDISH_LOAD_TIMEOUT_S, or use a smaller model."
            ) from None
        except BaseException:
            child.kill()
            await child.end()
            raise
        return child

    async def _greet(self, options: ChildOptions) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: PT018, S101 - both are pipes
        try:
            stdin.write(msgspec.json.encode(options) + b"\n")
            await stdin.drain()
            line = await stdout.readline()
            return msgspec.json.decode(line, type=ChildReady).url
        except (ConnectionError, msgspec.DecodeError):
            code = await self._last_moments()
            await self._reading
            raise ModelLoadFailed(
                f"llama.cpp cannot load {options.model_path}: {first_complaint(self._log) or describe_exit(code)}"
            ) from None

    async def _last_moments(self) -> int:
        """The exit code of a child that stopped talking: it still says why on stderr, unless it lives and hangs."""
        try:
            async with asyncio.timeout(_KILL_AFTER_S):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended, as far as is known."""
        return self._process.returncode is None

    async def ended(self) -> int:
        """Wait for the process's end; its exit code, negative for a signal."""
        return await self._process.wait()

    def death(self, code: int) -> str:
        """Why the process ended with `code`, in words."""
        words = "" if code == -9 else last_words(self._log)  # who is killed has no time for words
        return f"{describe_exit(code)}: {words}" if words else describe_exit(code)

    async def end(self) -> None:
        """End the process: it is asked by closing its stdin, and killed when it does not obey."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_KILL_AFTER_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._reading

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(ProcessLookupError):  # it is gone already
            self._process.kill()

    async def _read_log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101 - it is a pipe
        while line := await _line(stderr):
            text = line.decode("utf-8", "replace").rstrip()
            self._log.append(text)
            if _GRAMMAR_COMPLAINT in text:
                self.grammar_complaints += 1


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:
        return b"(a line too long to keep)"


def first_complaint(log: Iterable[str]) -> str:
    """Why llama.cpp could not load: what it complained of first, since the rest follows from it. Empty without any."""
    lines = list(log)
    errors = [match["text"].strip() for line in lines if (match := _ERROR.match(line))]
    causes = [error for error in errors if not _CONSEQUENCE.search(error)]
    return next(iter(causes or errors), "") or last_words(lines)


def last_words(log: Iterable[str]) -> str:
    """The last line in which a program says that it cannot go on; empty without any."""
    words = [line.strip() for line in log if _LAST_WORDS.search(line) and _SAYS_NOTHING not in line]
    return words[-1] if words else ""


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        hint = " (out of memory?)" if code == -9 else ""
        return f"its process was ended by signal {-code}{hint}"
    return f"its process ended with code {code}"
