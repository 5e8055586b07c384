"""The routing decision: 50 deployments in one route, 500 policy rules.

    remembered     the snapshot has seen a request of this kind and size
    mixed sizes    a hundred different sizes, 32 to 824 tokens, each once; the snapshot has seen the kind
    new snapshot   the snapshot is new, as after each change of conditions; the table is the same
    new table      nothing was seen before, as after a reload

Each figure is the median over rounds, in CPU time of this process, with quartiles.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tundish.catalog.price import Price
from tundish.core.backend import Capabilities
from tundish.core.place import Place, Reach
from tundish.policy.label import Label
from tundish.policy.policy import Rule, policy
from tundish.routing.decide import decide
from tundish.routing.decision import Ask, Needs
from tundish.routing.table import Condition, Deployment, Member, Mode, Route, RoutingTable, Snapshot

DEPLOYMENTS = 50
RULES = 500
CLASSES = ("public", "internal", "confidential", "restricted")


def table(mode: Mode) -> RoutingTable:
    """Every deployment in a place of its own; the rules let `internal` go to nearly all of them."""
    dice = random.Random(4)
    places = [Place(name=f"place-{index}", reach=Reach.REGION, geography="DE") for index in range(DEPLOYMENTS)]
    deployments = {
        f"deployment-{index}": Deployment(
            name=f"deployment-{index}",
            model=f"model-{index % 7}",
            place=place,
            capabilities=Capabilities(context_length=dice.choice((8_192, 32_768, 131_072))),
            quality=dice.random(),
            price=Price(input_nano_usd=dice.randrange(1, 5_000), output_nano_usd=dice.randrange(1, 30_000)),
        )
        for index, place in enumerate(places)
    }
    named = [f"place-{index}" for index in range(DEPLOYMENTS + 100)]
    rules = [Rule(data_class=CLASSES[index % 4], places=(dice.choice(named),)) for index in range(RULES - 1)]
    rules.append(Rule(data_class="internal", places=("geography:EU",)))
    members = tuple(Member(deployment=name, weight=dice.random()) for name in deployments)
    return RoutingTable(
        version="1",
        policy=policy(classes=CLASSES, rules=rules, default_class="internal"),
        routes={"chat": Route(name="chat", mode=mode, members=members)},
        deployments=deployments,
    )


def conditions(names: Sequence[str]) -> Mapping[str, Condition]:
    """Everybody is well and measured."""
    dice = random.Random(5)
    return {
        name: Condition(
            free_slots=dice.randrange(0, 8),
            slots=8,
            queued=dice.randrange(0, 3),
            queue_room=64,
            first_token_s=dice.uniform(0.05, 2),
            tokens_per_s=dice.uniform(10, 200),
        )
        for name in names
    }


def ask(prompt_tokens: int = 180, draw: float = 0.3) -> Ask:
    """A chat turn."""
    return Ask(
        route="chat",
        label=Label(data_class="internal"),
        needs=Needs(),
        prompt_tokens=prompt_tokens,
        max_output_tokens=None,
        expected_output_tokens=250,
        draw=draw,
    )


def measure(work: Callable[[Snapshot, Ask], object], inputs: Iterator[tuple[Snapshot, Ask]], count: int) -> float:
    """Microseconds of CPU for each."""
    made = list(itertools.islice(inputs, count))
    begun = time.process_time()
    for snapshot, asked in made:
        work(snapshot, asked)
    return (time.process_time() - begun) / count * 1e6


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = max(2, parser.parse_args(argv).rounds)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{DEPLOYMENTS} deployments, {RULES} rules; the goal is 20 µs for the decision\n")
    for mode in Mode:
        known = table(mode)
        states = conditions(list(known.deployments))
        warm = Snapshot(table=known, conditions=states, now_s=0)
        decide(warm, ask())
        inputs: dict[str, tuple[Callable[[], Iterator[tuple[Snapshot, Ask]]], int]] = {
            "remembered": (lambda warm=warm: ((warm, ask(draw=i % 97 / 97)) for i in itertools.count()), 5_000),
            "mixed sizes": (lambda warm=warm: ((warm, ask(32 + 8 * n)) for n in itertools.cycle(range(100))), 100),
            "new snapshot": (
                lambda known=known, states=states: (
                    (Snapshot(table=known, conditions=states, now_s=i), ask()) for i in itertools.count()
                ),
                200,
            ),
            "new table": (
                lambda states=states, mode=mode: (
                    (Snapshot(table=table(mode), conditions=states, now_s=0), ask()) for _ in itertools.count()
                ),
                20,
            ),
        }
        for name, (make, count) in inputs.items():
            found = []
            for _ in range(rounds):
                warm.standings.clear()
                decide(warm, ask())
                found.append(measure(decide, make(), count))
            low, median, high = statistics.quantiles(found, n=4)
            print(f"{mode.value:10} {name:14} {median:8.1f} µs   (quartiles {low:.1f} … {high:.1f})")


if __name__ == "__main__":
    main(sys.argv[1:])
