"""Time to the first token with a long system prompt: cold, warm, and after a restart.

    python -m benchmarks prefixes [--shape tiny] [--model FILE.gguf] [--tokens 1024] [--questions 5] [--threads N]
    python -m benchmarks prefixes --shape 20b          writes 12 GB first, unless --model names the file

The engine is ours, the child a real one, the prompt token ids that it cannot know. Measured in this order, each time
with another question after the prefix: cold (nothing is saved), the second use (which saves it), warm (further new
conversations in the same process), beside others (as many at once as there are slots), after a restart (a new child
and a new engine; the first request), and that again with the page cache asked to forget the saved files. Beside each
time stands how many prompt tokens were reused, since a figure without it proves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from benchmarks.random_gpt_oss import SHAPES, write_model
from tundish.core.request import Sampling
from tundish.core.tokens import TokenDelta, TokenRequest
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.engines.llama_cpp.model_fingerprint import fingerprint
from tundish.engines.llama_cpp.prefix_cache import PrefixCache
from tundish.engines.llama_cpp.prefix_store import PrefixStore
from tundish.harmony.vocabulary import O200K_HARMONY

_QUESTION_TOKENS = 16
_ANSWER_TOKENS = 4
_WARM_UP_S = 8.0
"""Until the engine has shown llama.cpp its first grammar."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One request."""

    first_s: float
    cached_tokens: int


def _options(model: Path, arguments: argparse.Namespace) -> EngineOptions:
    return EngineOptions(
        model_path=model,
        context_length=arguments.tokens + 512,
        slots=arguments.slots,
        queue_limit=64,
        batch_tokens=arguments.batch,
        threads=arguments.threads,
        gpu_layers=0,
        prompt_cache_mib=0,
        repack=arguments.repack,
        load_timeout_s=1800.0,
    )


@contextlib.asynccontextmanager
async def _engine(model: Path, root: Path, arguments: argparse.Namespace) -> AsyncGenerator[LlamaCppEngine]:
    options = _options(model, arguments)
    store = PrefixStore(root, fingerprint(options), limit_bytes=2**34)
    prefixes = PrefixCache(store, slots=options.slots, moves_idle_slots=False)
    engine = LlamaCppEngine(dataclasses.replace(options, slot_folder=store.folder), prefixes=prefixes)
    began_s = time.perf_counter()
    await engine.start()
    print(f"  loaded in {time.perf_counter() - began_s:.1f} s")
    await asyncio.sleep(_WARM_UP_S)
    try:
        yield engine
    finally:
        await engine.stop()


def _request(prefix: Sequence[int], question: int) -> TokenRequest:
    said = random.Random(question)
    return TokenRequest(
        prompt=[*prefix, *(said.randrange(1_000, 100_000) for _ in range(_QUESTION_TOKENS))],
        sampling=Sampling(max_tokens=_ANSWER_TOKENS, temperature=0.0),
        prefix_tokens=len(prefix),
    )


async def _measure(engine: LlamaCppEngine, request: TokenRequest) -> Measured:
    began_s = time.perf_counter()
    first_s, cached = 0.0, 0
    async for event in engine.generate(request):
        if isinstance(event, TokenDelta):
            first_s = first_s or time.perf_counter() - began_s
        else:
            cached = event.cached_tokens
    return Measured(first_s=first_s, cached_tokens=cached)


def _forget(root: Path) -> bool:
    """Have the page cache forget the saved files, where that can be asked for."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in root.glob("*/*.kv"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def _saved_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("*/*.kv"))


def _show(name: str, runs: Sequence[Measured], prompt_tokens: int) -> None:
    times = sorted(run.first_s for run in runs)
    spread = f"{times[0] * 1e3:9.1f} … {times[-1] * 1e3:.1f}" if len(times) > 1 else ""
    reused = sorted({run.cached_tokens for run in runs})
    told = str(reused[0]) if len(reused) == 1 else f"{reused[0]} … {reused[-1]}"
    print(f"{name:28} {statistics.median(times) * 1e3:10.1f} ms   {told:>14} of {prompt_tokens} reused   {spread}")


async def benchmark(model: Path, root: Path, arguments: argparse.Namespace) -> None:
    """Measure and print."""
    ids = random.Random(1)
    prefix = [ids.randrange(1_000, 100_000) for _ in range(arguments.tokens)]
    length = arguments.tokens + _QUESTION_TOKENS
    rounds = arguments.questions
    async with _engine(model, root, arguments) as engine:
        _show("cold", [await _measure(engine, _request(prefix, 1))], length)
        _show("second use, which saves it", [await _measure(engine, _request(prefix, 2))], length)
        warm = [await _measure(engine, _request(prefix, question)) for question in range(3, 3 + rounds)]
        _show("warm, a new conversation", warm, length)
        together = [_request(prefix, 100 + number) for number in range(arguments.slots)]
        _show(f"{arguments.slots} at once", await asyncio.gather(*(_measure(engine, one) for one in together)), length)
    print(f"  saved: {_saved_bytes(root) / 1e6:.1f} MB")
    async with _engine(model, root, arguments) as engine:
        _show("after a restart, first", [await _measure(engine, _request(prefix, 200))], length)
    if _forget(root):
        async with _engine(model, root, arguments) as engine:
            _show("after a restart, from disk", [await _measure(engine, _request(prefix, 201))], length)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a gpt-oss GGUF; without it one of --shape is written")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny", help="default: tiny")
    parser.add_argument("--folder", type=Path, help="where to write the model and the saved states; default: temporary")
    parser.add_argument("--tokens", type=int, default=1024, help="of the prefix; default: 1024")
    parser.add_argument("--questions", type=int, default=5, help="warm requests; default: 5")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repack", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, "
        f"xllamacpp {importlib.metadata.version('xllamacpp')}, {arguments.threads} threads"
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model = arguments.model
        if model is None:
            model = Path(folder) / f"{arguments.shape}.gguf"
            write_model(model, SHAPES[arguments.shape], O200K_HARMONY())
        asyncio.run(benchmark(model, Path(folder) / "prefixes", arguments))


if __name__ == "__main__":
    main()
