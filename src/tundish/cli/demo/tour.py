"""The tour: what is asked, what is done to the cloud meanwhile, and what is shown of it."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import signal
import sys
import time
import types
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.demo.caller import Caller, Reply
from tundish.cli.demo.evidence import Evidence, Evidences, Judged
from tundish.cli.demo.screen import Screen
from tundish.cli.demo.stage import CLOUD, CLOUD_ROUTE, HERE, ROUTE, Stage, stage
from tundish.settings import Settings

_DESCRIPTION = """\
Show what Tundish is for, in about a minute: a site and a "cloud" (a second Tundish that speaks Azure's surface) start
on this machine, a handful of requests is asked, and for each you see the answer, the decision in a line, and its
receipt, checked with the public key alone. Nothing leaves this machine and nothing of it stays.
"""
_CUT_AFTER = "3,"
_TRIES = 3


def _configure(_: argparse.ArgumentParser) -> None:
    """No arguments."""


def _run(_: argparse.Namespace, settings: Settings) -> int:
    screen = Screen(sys.stdout, styled=sys.stdout.isatty())
    with _ended_by_sigterm(), stage(settings) as running:
        return EXIT_OK if asyncio.run(_Tour(running, screen).show()) else EXIT_FAILED


@contextmanager
def _ended_by_sigterm() -> Generator[None, None, None]:
    """SIGTERM is as Ctrl-C: what was started is ended."""

    def interrupt(_: int, __: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Tour:
    """Five scenes."""

    def __init__(self, running: Stage, screen: Screen) -> None:
        self._stage = running
        self._screen = screen
        self._as_told = True

    async def show(self) -> bool:
        """All of it; whether everything went as it should."""
        screen = self._screen
        screen.headline("Tundish: one endpoint, many places, the right one for each request")
        began_s = time.monotonic()
        self._stage.start()
        screen.prose(
            f"A site and a cloud run on this machine now ({time.monotonic() - began_s:.1f} s). The site may use two "
            f"deployments: '{HERE}', in the building, for all data; and '{CLOUD}', a GlobalStandard deployment of "
            "gpt-oss-120b in Azure that may compute anywhere on earth, for public data only. (gpt-oss-nano plays both, "
            "and a second Tundish plays Azure.)"
        )
        caller = Caller(self._stage.site_url, self._stage.key)
        try:
            evidences = Evidences(self._stage.receipts)
            await self._public(caller, evidences)
            kept = await self._confidential(caller, evidences)
            await self._dies(caller, evidences)
            await self._nobody_left(caller, evidences)
            self._forged(evidences, kept)
        finally:
            caller.close()
        screen.gap()
        screen.prose("Both endpoints end now, and nothing of them stays.")
        screen.prose("The same for your own places: docs/configuration.md. Receipts: docs/receipts.md.")
        return self._as_told

    async def _public(self, caller: Caller, evidences: Evidences) -> None:
        self._screen.scene(1, "A public question goes where it is cheapest")
        reply = await self._ask(caller, "What is the capital of Norway?", "public")
        evidence = await self._prove(evidences, reply)
        self._expect(evidence.receipt.deployment == CLOUD)

    async def _confidential(self, caller: Caller, evidences: Evidences) -> Evidence:
        self._screen.scene(2, "A confidential one stays in the building, whatever it costs")
        reply = await self._ask(caller, "My name is Ada.", "confidential")
        evidence = await self._prove(evidences, reply)
        self._expect([attempt.deployment for attempt in evidence.receipt.attempts] == [HERE])
        return evidence

    async def _dies(self, caller: Caller, evidences: Evidences) -> None:
        self._screen.scene(3, "The cloud dies in the middle of an answer, and the answer goes on")
        for left in reversed(range(_TRIES)):
            killed = _Once(self._kill)
            reply = await self._ask(caller, "Count to 20", "public", heard=killed.heard)
            killed.at_last()
            receipt = (await self._prove(evidences, reply)).receipt
            if receipt.deployment == HERE and len(receipt.attempts) > 1 and reply.error is None:
                return
            if left and len(receipt.attempts) == 1:
                self._screen.prose("The cloud had said everything before it was killed. Once more:")
                self._stage.restart_cloud()
            else:
                break
        self._expect(False)

    async def _nobody_left(self, caller: Caller, evidences: Evidences) -> None:
        self._screen.scene(4, "Every place that may answer is down: an error that says why, and no way around it")
        reply = await self._ask(caller, "What is the capital of Norway?", "public", route=CLOUD_ROUTE)
        self._expect(reply.error is not None)
        evidence = await self._prove(evidences, reply)
        self._expect(not evidence.receipt.deployment)
        self._screen.gap()
        reply = await self._ask(caller, "My name is Ada.", "confidential", route=CLOUD_ROUTE)
        self._expect(reply.error is not None)
        evidence = await self._prove(evidences, reply)
        self._expect(not evidence.receipt.attempts)

    def _forged(self, evidences: Evidences, kept: Evidence) -> None:
        self._screen.scene(5, "Somebody edits the log afterwards")
        count, problems = evidences.examine()
        if problems:
            self._broken("log", "; ".join(problems))
        else:
            self._screen.good("log", f"{count} receipts; nothing changed, removed, reordered or inserted")
        line = f'"request_id":"{kept.receipt.request_id}"'.encode()
        self._screen.row("edit", f"in a copy, {kept.receipt.request_id} is made another request")
        found = evidences.examine_forged(line, line.replace(b'"req_', b'"rxq_'), self._stage.folder)
        self._expect(bool(found))
        for finding in found[:2]:
            self._screen.bad("log", finding)

    # --- one request ---

    async def _ask(
        self,
        caller: Caller,
        question: str,
        data_class: str,
        *,
        route: str = ROUTE,
        heard: Callable[[str], None] | None = None,
    ) -> Reply:
        screen = self._screen
        screen.row("asked", f"{question}   ({data_class}, of '{route}')")
        screen.begin_stream("answer")

        def show(text: str) -> None:
            screen.stream(text)
            if heard is not None:
                heard(text)

        reply = await caller.ask(question, route=route, data_class=data_class, heard=show)
        if reply.error is not None:
            screen.stream(f" – {reply.error.message}" if reply.text else f"{reply.status}: {reply.error.message}")
        screen.end_stream()
        return reply

    def _kill(self) -> None:
        self._stage.kill_cloud()
        self._screen.interjection("the cloud is killed")

    async def _prove(self, evidences: Evidences, reply: Reply) -> Evidence:
        evidence = await evidences.of(reply.request_id, reply.body)
        self._screen.row("decided", _decision(evidence))
        if evidence.problems:
            self._broken("receipt", "; ".join(evidence.problems))
        else:
            receipt = evidence.receipt
            cost = "" if receipt.cost_nano_usd is None else f", ${receipt.cost_nano_usd / 1e9:.7f}"
            self._screen.good(
                "receipt", f"leaf {evidence.index} of the signed log{cost}; this very answer is the one on record"
            )
        return evidence

    def _broken(self, label: str, text: str) -> None:
        self._screen.bad(label, text)
        self._as_told = False

    def _expect(self, holds: bool) -> None:
        if not holds:
            self._broken("tour", "this did not go as it should have")


@dataclasses.dataclass(slots=True)
class _Once:
    """Does something when enough of an answer was heard, or at last when it is over."""

    act: Callable[[], None]
    text: str = ""
    done: bool = False

    def heard(self, text: str) -> None:
        self.text += text
        if _CUT_AFTER in self.text:
            self.at_last()

    def at_last(self) -> None:
        if not self.done:
            self.done = True
            self.act()


def _decision(evidence: Evidence) -> str:
    """In a line: who answered, what that was preferred to, and who was refused for what."""
    receipt = evidence.receipt
    parts = [_attempt(attempt.deployment, attempt.place, attempt.outcome) for attempt in receipt.attempts]
    said = ", then ".join(parts) or "nobody was asked"
    tried = {attempt.deployment for attempt in receipt.attempts}
    weighed = [judged for judged in evidence.judged if judged.refusal is None and judged.estimate_usd is not None]
    if len(weighed) > 1:
        said += f"; estimated {', '.join(map(_estimate, weighed))}"
    refused = [judged for judged in evidence.judged if judged.refusal is not None and judged.deployment not in tried]
    for judged in refused:
        said += f"; not {judged.deployment}: {judged.refusal.reason if judged.refusal else ''}".rstrip(".")
    return said


def _attempt(deployment: str, place: str, outcome: str) -> str:
    return f"{deployment} ({place})" + ("" if outcome == "ok" else f" – {outcome}")


def _estimate(judged: Judged) -> str:
    return f"{judged.deployment} ${judged.estimate_usd or 0:.7f}"


COMMAND = Command(
    name="demo",
    summary="a site, a cloud and a handful of requests, shown in a minute",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
