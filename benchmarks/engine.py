"""What our engine costs beside the same llama.cpp server called directly: the same child, the same bytes asked.

    python -m benchmarks engine [--model FILE.gguf] [--tokens 256] [--pairs 5] [--threads N] [--streams 1 4 8]

Direct is a bare socket that sends the same body and looks for nothing but the token count in what comes back. Ours is
`LlamaCppEngine`, and `GptOssBackend` upon it. Each pair runs in both orders, so that a machine that warms up or slows
down favours nobody; medians and the spread between quartiles are printed. Without `--model`, a random gpt-oss of the
tiny shape is written and used: there a token takes about a millisecond, so that what we add shows most.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks.random_gpt_oss import SHAPES, write_model
from tundish.core.clock import SystemClock
from tundish.core.events import Finished
from tundish.core.request import CompletionRequest, Sampling
from tundish.core.tokens import TokenDelta, TokenRequest, TokensFinished
from tundish.engines.gpt_oss import GptOssBackend
from tundish.engines.llama_cpp import wire
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.harmony.tokens import STOP_TOKENS
from tundish.harmony.vocabulary import O200K_HARMONY

_WARM_UP_S = 4.0
"""Until the engine has shown llama.cpp its first grammar."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One generation, or several at once: tokens, seconds from the request to the first, and from there to the last."""

    tokens: int
    first_s: float
    rest_s: float
    cpu_s: float = 0.0
    """Of this process, which a busy machine does not change."""

    @property
    def rate(self) -> float:
        """Tokens a second after the first."""
        return (self.tokens - 1) / self.rest_s


Way = Callable[[TokenRequest], Awaitable[Run]]


class Direct:
    """A bare connection to the engine's child."""

    def __init__(self, engine: LlamaCppEngine) -> None:
        self._engine = engine

    async def __call__(self, request: TokenRequest) -> Run:
        body = wire.encode_request(request, choices=1, first=0, context_length=self._engine.context_length)
        async with self._engine.connection(slots=0) as link:
            origin = link.client.origin
            key = link.headers["authorization"]
        head = (
            f"POST /completion HTTP/1.1\r\nhost: {origin}\r\nauthorization: {key}\r\n"
            f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        started_s = time.perf_counter()
        writer.write(head.encode() + body)
        tokens, first_s = 0, 0.0
        while data := await reader.read(65_536):
            fresh = data.count(b'"tokens_predicted":') - data.count(b'"prompt_progress":') - data.count(b'"stop":true')
            if fresh > 0 and not tokens:
                first_s = time.perf_counter()
            tokens += fresh
            if b'"stop":true' in data:
                break
        ended_s = time.perf_counter()
        writer.close()
        return Run(tokens=tokens, first_s=first_s - started_s, rest_s=ended_s - first_s)


class Ours:
    """The token engine."""

    def __init__(self, engine: LlamaCppEngine) -> None:
        self._engine = engine

    async def __call__(self, request: TokenRequest) -> Run:
        started_s = time.perf_counter()
        tokens, first_s = 0, 0.0
        async for event in self._engine.generate(request):
            if isinstance(event, TokenDelta):
                first_s = first_s or time.perf_counter()
                tokens += len(event.tokens)
            elif isinstance(event, TokensFinished):
                tokens = event.completion_tokens
        return Run(tokens=tokens, first_s=first_s - started_s, rest_s=time.perf_counter() - first_s)


class OursAsText:
    """The whole backend: vocabulary and events upon the token engine."""

    def __init__(self, engine: LlamaCppEngine) -> None:
        self._backend = GptOssBackend(engine, clock=SystemClock())

    async def __call__(self, request: TokenRequest) -> Run:
        asked = CompletionRequest(model="m", prompt=tuple(request.prompt), sampling=request.sampling)
        started_s = time.perf_counter()
        tokens, first_s = 0, 0.0
        async for event in self._backend.complete(asked):
            first_s = first_s or time.perf_counter()
            if isinstance(event, Finished):
                tokens = event.usage.completion_tokens
        return Run(tokens=tokens, first_s=first_s - started_s, rest_s=time.perf_counter() - first_s)


def prompt(length: int, seed: int) -> list[int]:
    """Random ids of ordinary tokens."""
    drawn = random.Random(seed)
    return [drawn.randrange(190_000) for _ in range(length)]


async def together(way: Way, requests: Sequence[TokenRequest]) -> Run:
    """All at once, as one run: the tokens of all, the slowest first token, the time until the last has ended."""
    cpu_s = time.process_time()
    started_s = time.perf_counter()
    runs = await asyncio.gather(*(way(request) for request in requests))
    ended_s = time.perf_counter()
    first_s = max(run.first_s for run in runs)
    return Run(
        tokens=sum(run.tokens for run in runs),
        first_s=first_s,
        rest_s=ended_s - started_s - first_s,
        cpu_s=time.process_time() - cpu_s,
    )


async def compare(name: str, ways: dict[str, Way], streams: int, tokens: int, pairs: int) -> None:
    """Print the rates and the times to the first token of all ways, interleaved."""
    measured: dict[str, list[Run]] = {way: [] for way in ways}
    for pair in range(pairs + 1):  # the first warms up
        order = list(ways) if pair % 2 else list(reversed(ways))
        for way in order:
            requests = [
                TokenRequest(
                    # The same prompt for all ways, and one that was not computed before: nothing comes from the cache.
                    prompt=prompt(64, seed=1000 * pair + stream + 7 * streams + 100_000 * list(ways).index(way)),
                    # Greedy: sampling should not be what is measured. And no end before the limit.
                    sampling=Sampling(
                        max_tokens=tokens, temperature=0.0, logit_bias=dict.fromkeys(STOP_TOKENS, -100.0)
                    ),
                )
                for stream in range(streams)
            ]
            run = await together(ways[way], requests)
            if pair:
                measured[way].append(run)
    direct = next(iter(ways))
    for way, runs in measured.items():
        rate = statistics.median(run.rate for run in runs)
        first_ms = statistics.median(run.first_s for run in runs) * 1000
        ratios = [run.rate / other.rate for run, other in zip(runs, measured[direct], strict=True)]
        added = [(run.first_s - other.first_s) * 1000 for run, other in zip(runs, measured[direct], strict=True)]
        line = f"{name:<10} {way:<16} {rate:9.1f} tok/s {spread([run.rate for run in runs]):<17}"
        cpu_us = statistics.median(run.cpu_s / run.tokens for run in runs) * 1e6
        line += f" {cpu_us:5.0f} µs CPU each"
        line += f" first token {first_ms:7.2f} ms {spread([run.first_s * 1000 for run in runs]):<16}"
        if way != direct:
            line += f" {statistics.median(ratios) * 100:6.1f}% of direct, {statistics.median(added):+6.2f} ms"
        print(line, flush=True)


def spread(values: Sequence[float]) -> str:
    """The quartiles."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return f"({low:.1f} … {high:.1f})"


async def warm_prefix(way: Way, pairs: int) -> None:
    """Print how much sooner the second request with the same 1 000 tokens begins."""
    cold, warm = [], []
    for pair in range(pairs):
        prefix = prompt(1000, seed=pair + 50_000)
        for times, seed in ((cold, 1), (warm, 2)):
            request = TokenRequest(prompt=prefix + prompt(40, seed), sampling=Sampling(max_tokens=2, temperature=0.0))
            times.append((await way(request)).first_s * 1000)
    ratios = [first / second for first, second in zip(cold, warm, strict=True)]
    print(
        f"1 000-token prefix: first {statistics.median(cold):.1f} ms {spread(cold)}, "
        f"again {statistics.median(warm):.1f} ms {spread(warm)}: {statistics.median(ratios):.0f} times sooner"
    )


async def batch_sizes(options: EngineOptions) -> None:
    """Print what the batch size does to a prompt: its speed, and how long a cancelled one may go on."""
    for batch_tokens in (32, 64, 128, 256, 512, 1024):
        engine = LlamaCppEngine(dataclasses.replace(options, batch_tokens=batch_tokens, slots=1))
        await engine.start()
        length = min(1024, options.context_length - 8)
        run = await Ours(engine)(TokenRequest(prompt=prompt(length, batch_tokens), sampling=Sampling(max_tokens=1)))
        await engine.stop()
        each_s = run.first_s * min(batch_tokens, length) / length
        print(f"batch of {batch_tokens:5}: {length / run.first_s:9.1f} prompt tok/s, {each_s:6.3f} s each")


async def benchmark(model: Path, arguments: argparse.Namespace) -> None:
    """Everything, on one model."""
    options = EngineOptions(
        model_path=model,
        context_length=arguments.context,
        slots=max(arguments.streams),
        queue_limit=64,
        batch_tokens=arguments.batch,
        threads=arguments.threads,
        gpu_layers=arguments.gpu_layers,
        prompt_cache_mib=0,
        repack=arguments.repack,
    )
    engine = LlamaCppEngine(options)
    started_s = time.perf_counter()
    await engine.start()
    print(f"loaded in {time.perf_counter() - started_s:.2f} s, resident {resident_mib(engine.pid)}")
    await asyncio.sleep(_WARM_UP_S)
    direct, ours = Direct(engine), Ours(engine)
    ways: dict[str, Way] = {"direct": direct, "engine": ours, "gpt-oss backend": OursAsText(engine)}
    for streams in arguments.streams:
        await compare(f"{streams} streams", ways, streams, arguments.tokens, arguments.pairs)
    await warm_prefix(ours, arguments.pairs)
    print(f"resident {resident_mib(engine.pid)}")
    await engine.stop()
    if arguments.batches:
        await batch_sizes(options)


def resident_mib(pid: int | None) -> str:
    """The memory of a process, where the system tells."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return "unknown"
    return next(f"{int(line.split()[1]) // 1024} MiB" for line in lines if line.startswith("VmRSS"))


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a gpt-oss GGUF; default: a random one of the tiny shape")
    parser.add_argument("--tokens", type=int, default=256, help="of each answer; default: 256")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each kind; default: 7")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--gpu-layers", type=int, default=0)
    parser.add_argument("--repack", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--batches", action="store_true", help="also try batch sizes")
    arguments = parser.parse_args(argv)
    today = datetime.datetime.now(datetime.UTC).date()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{today}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, "
        f"Python {platform.python_version()}, xllamacpp {importlib.metadata.version('xllamacpp')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            model = Path(folder) / "tiny.gguf"
            write_model(model, SHAPES["tiny"], O200K_HARMONY())
        if hasattr(asyncio, "Runner") and platform.system() != "Windows":
            import uvloop

            uvloop.run(benchmark(model, arguments))
        else:
            asyncio.run(benchmark(model, arguments))


if __name__ == "__main__":
    main()
