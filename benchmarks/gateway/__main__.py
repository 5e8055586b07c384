"""Tundish as a gateway, beside others, under the same load.

    python -m benchmarks gateway                        ours alone, and the model server called directly
    python -m benchmarks gateway --peers                and nginx, TensorZero, Portkey, LiteLLM: installed when absent
    python -m benchmarks gateway --only tundish nginx --rounds 1 --seconds 1
    python -m benchmarks gateway --growth               memory over 1,000,000 requests and 10,000 abandoned streams

Model server and load run on core 0, the gateway on core 1. In each round every gateway is started anew and measured in
turn, so what else the machine does meets all of them. CPU time is what other load disturbs least.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

import platformdirs

from benchmarks.gateway import growth, machine, table
from benchmarks.gateway.contenders import CONTENDERS, Contender, NotHad
from benchmarks.gateway.load import LoadFailed, Tools
from benchmarks.gateway.measure import Figures, measure, measure_direct
from benchmarks.gateway.running import DidNotStart, installed, running

OURS = "tundish"
DIRECT = "direct"


def main() -> None:
    options = _options()
    tools = Tools(options.cache)
    chosen = [contender for contender in CONTENDERS if contender.name in options.only]
    if options.growth:
        _growth(tools, chosen, options)
        return
    print(f"{machine.description()}\n{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, ", end="")
    print(f"{options.rounds} rounds of {options.seconds:g} s for each figure: median (least–most)", flush=True)
    chosen = [contender for contender in chosen if _is_had(contender, options.cache)]
    rounds: dict[str, list[Figures]] = {}
    for number in range(options.rounds):
        with tools.upstream_running() as upstream_port:
            direct = measure_direct(tools, upstream_port, options.seconds)
            rounds.setdefault(DIRECT, []).append(direct.figures)
            for contender in chosen:
                try:
                    with running(contender, options.cache, upstream_port) as run:
                        figures = measure(tools, run.target, options.seconds, run=run, direct=direct)
                except (DidNotStart, LoadFailed) as error:
                    _say(f"{contender.name}: {error}")
                    continue
                rounds.setdefault(contender.name, []).append(figures)
                _say(f"round {number + 1}: {contender.name} {figures.rps_64:,.0f} req/s")
    print(table.render(rounds, {contender.name: f"{contender.version}; {contender.does}" for contender in chosen}))
    print(table.against(rounds, OURS))


def _growth(tools: Tools, chosen: list[Contender], options: argparse.Namespace) -> None:
    print(machine.description(), flush=True)
    for contender in chosen:
        with tools.upstream_running() as upstream_port, running(contender, options.cache, upstream_port) as run:
            curve = growth.curve(tools, run, requests=options.requests, abandoned=options.abandoned)
            print(f"{contender.name}\n{curve}", flush=True)


def _is_had(contender: Contender, cache: Path) -> bool:
    try:
        installed(contender, cache)
    except NotHad as error:
        _say(f"{contender.name} is left out: {error}")
        return False
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    names = [contender.name for contender in CONTENDERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="all of: " + ", ".join(names))
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="just these")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", action="store_true", help="memory over many requests, instead of speed")
    parser.add_argument("--requests", type=int, default=1_000_000, help="with --growth")
    parser.add_argument("--abandoned", type=int, default=10_000, help="streams, with --growth")
    default_cache = Path(platformdirs.user_cache_path("tundish", appauthor=False)) / "benchmarks"
    parser.add_argument("--cache", type=Path, default=default_cache, help="where peers are installed")
    options = parser.parse_args()
    options.only = options.only or (names if options.peers else [OURS])
    return options


if __name__ == "__main__":
    main()
