"""Deciding, trying, failing over, continuing, settling."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
from collections.abc import Callable

import pytest

from tundish.access.keys import Principal
from tundish.catalog.price import Price
from tundish.core.backend import Health
from tundish.core.errors import (
    BackendDied,
    BackendError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    TundishError,
    Unavailable,
)
from tundish.core.request import AssistantMessage, Request
from tundish.dispatch.dispatcher import Dispatcher
from tundish.dispatch.errors import EveryAttemptFailed, NoDeploymentLeft, NoPlaceAllowed
from tundish.dispatch.rules import BreakerRules, RetryRules, Rules
from tundish.dispatch.settlement import Settlement
from tundish.dispatch.site import Site
from tundish.routing.table import Circuit, Shadow

from .plant import ANSWER, Asked, Hang, Played, PlayedRelay, answer, plant, route, table

DEAD = (BackendDied("It died."),)
LANES = pytest.mark.parametrize("kind", [Played, PlayedRelay])


def asked(backend: Played) -> int:
    return len(backend.asked)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task is about to do."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the backend counts, it tells nobody
            await asyncio.sleep(0)


@LANES
async def test_the_first_of_the_order_answers(kind: type[Played]) -> None:
    works = plant({"a": kind(), "b": kind()})
    assert await answer(works, Asked(raw=True)) == "Hello there"
    assert (asked(works.backends["a"]), asked(works.backends["b"])) == (1, 0)
    receipt = works.receipt
    assert (receipt.deployment, receipt.place, receipt.outcome) == ("a", "cloud", "ok")
    assert [(attempt.deployment, attempt.outcome) for attempt in receipt.attempts] == [("a", "ok")]
    assert (receipt.prompt_tokens, receipt.completion_tokens) == (100, 2)
    assert works.seen.running == 0


@LANES
async def test_failing_over_before_the_first_byte_is_invisible(kind: type[Played]) -> None:
    works = plant({"a": kind(DEAD), "b": kind()})
    assert await answer(works, Asked(raw=True)) == "Hello there"
    assert [(attempt.deployment, attempt.outcome) for attempt in works.receipt.attempts] == [
        ("a", "backend_died"),
        ("b", "ok"),
    ]
    assert works.receipt.deployment == "b"


async def test_lanes_mix() -> None:
    works = plant({"far": PlayedRelay(DEAD), "here": Played()})
    assert await answer(works, Asked(raw=True)) == "Hello there"
    assert isinstance(works.backends["here"].asked[0], Request)


@LANES
async def test_a_broken_answer_goes_on_elsewhere(kind: type[Played]) -> None:
    works = plant({"a": kind(("Hel", BackendDied("Gone."))), "b": Played(("lo",))})
    assert await answer(works, Asked(raw=True)) == "Hello"
    (continued,) = works.backends["b"].asked
    assert isinstance(continued, Request)
    assert continued.messages[-1] == AssistantMessage(text="Hel")
    receipt = works.receipt
    assert (receipt.deployment, receipt.outcome) == ("b", "ok")
    assert receipt.completion_tokens == 3, "what was said before counts"
    assert receipt.cost_nano_usd is None, "nobody counted what the first one did"


async def test_a_route_may_forbid_to_go_on_elsewhere() -> None:
    backends = {"a": Played(("Hel", BackendDied("Gone."))), "b": Played()}
    works = plant(backends, by=route("a", "b", continue_elsewhere=False))
    with pytest.raises(BackendDied, match="Gone"):
        await answer(works, Asked())
    assert asked(works.backends["b"]) == 0
    assert works.receipt.outcome == "backend_died"


async def test_an_answer_is_continued_only_where_its_data_may_go() -> None:
    backends = {"a": Played(("Hel", BackendDied("Gone."))), "b": Played()}
    works = plant(backends, {"a": "device", "b": "cloud"})
    with pytest.raises(BackendDied):
        await answer(works, Asked(claimed_class="restricted"))
    assert asked(works.backends["b"]) == 0


async def test_when_nobody_answers_each_is_named() -> None:
    works = plant({"a": Played(DEAD), "b": Played((BackendError("Broken pipe."),))})
    with pytest.raises(EveryAttemptFailed, match=r"a: It died\..*b: Broken pipe\."):
        await answer(works, Asked())
    assert works.receipt.outcome == "every_attempt_failed"


async def test_a_clients_mistake_is_not_tried_elsewhere() -> None:
    works = plant({"a": Played((InvalidRequest("Bad."),)), "b": Played()})
    with pytest.raises(InvalidRequest, match="Bad"):
        await answer(works, Asked())
    assert asked(works.backends["b"]) == 0


async def test_a_prompt_too_long_for_one_may_fit_another() -> None:
    too_long = ContextLengthExceeded(prompt_tokens=5000, context_length=4096)
    works = plant({"a": Played((too_long,)), "b": Played()})
    assert await answer(works, Asked()) == "Hello there"


async def test_the_policy_leaves_nobody() -> None:
    works = plant({"a": Played(), "b": Played()})
    with pytest.raises(NoPlaceAllowed, match="policy") as caught:
        await answer(works, Asked(claimed_class="restricted"))
    assert not caught.value.retryable
    assert asked(works.backends["a"]) + asked(works.backends["b"]) == 0
    assert (works.receipt.outcome, works.receipt.data_class) == ("no_place_allowed", "restricted")
    assert works.seen.running == 0


async def test_a_deployment_named_directly_is_still_under_the_policy() -> None:
    works = plant({"a": Played()})
    assert await answer(works, Asked("a")) == "Hello there"
    with pytest.raises(NoPlaceAllowed):
        await answer(works, Asked("a", claimed_class="internal"))


async def test_unknown_names_and_classes() -> None:
    works = plant({"a": Played()})
    with pytest.raises(ModelNotFound, match="Known models: a, r"):
        await answer(works, Asked("z"))
    with pytest.raises(InvalidRequest, match="secret"):
        await answer(works, Asked(claimed_class="secret"))
    assert [receipt.outcome for receipt in works.seen.receipts] == ["model_not_found", "unknown_data_class"]
    assert works.seen.records == [], "names that clients make up are no labels of a metric"


async def test_a_conversations_class_never_falls() -> None:
    works = plant({"far": Played(), "here": Played()}, {"here": "device"})
    works_with = {"conversations": ("key/c1",)}
    assert await answer(works, Asked(**works_with)) == "Hello there"
    await answer(works, Asked(claimed_class="restricted", **works_with))
    await answer(works, Asked(**works_with))
    await answer(works, Asked(claimed_class="public", **works_with))
    await answer(works, Asked(conversations=("key/other",)))
    assert [receipt.place for receipt in works.seen.receipts] == ["cloud", "device", "device", "device", "cloud"]


async def test_a_key_has_a_floor() -> None:
    works = plant({"far": Played(), "here": Played()}, {"here": "device"})
    caller = Principal(key_id="k", project="p", data_class="internal")
    await answer(works, Asked(caller=caller, claimed_class="public"))
    assert (works.receipt.place, works.receipt.project) == ("device", "p")
    assert works.receipt.label_sources == ("project=internal", "header=public")


async def test_a_conversation_sticks_to_its_deployment() -> None:
    works = plant({"a": Played(DEAD, ANSWER), "b": Played()})
    for _ in range(3):
        await answer(works, Asked(conversations=("key/c",)))
    assert [receipt.deployment for receipt in works.seen.receipts] == ["b", "b", "b"]


async def test_a_circuit_opens_and_a_probe_closes_it() -> None:
    rules = Rules(breaker=BreakerRules(failures=2, open_s=10.0), retries=RetryRules(budget_burst=100.0))
    works = plant({"a": Played(DEAD, DEAD, ANSWER), "b": Played()}, rules=rules)
    for _ in range(4):
        await answer(works, Asked())
    assert asked(works.backends["a"]) == 2, "it is left alone"
    assert works.dispatcher.circuits()["a"] is Circuit.OPEN
    works.clock.at_s += 10.0
    await answer(works, Asked())
    assert asked(works.backends["a"]) == 3
    assert works.dispatcher.circuits()["a"] is Circuit.CLOSED


async def test_all_circuits_open_is_said() -> None:
    rules = Rules(breaker=BreakerRules(failures=1), retries=RetryRules(attempts=1))
    works = plant({"a": Played(DEAD)}, rules=rules)
    with pytest.raises(EveryAttemptFailed, match=r"a: It died\."):
        await answer(works, Asked())
    with pytest.raises(NoDeploymentLeft, match="circuit"):
        await answer(works, Asked())


async def test_retry_after_is_honoured() -> None:
    busy = Overloaded("Busy.", retry_after_s=30.0)
    works = plant({"a": Played((busy,), ANSWER), "b": Played()})
    await answer(works, Asked())
    await answer(works, Asked())
    assert [receipt.deployment for receipt in works.seen.receipts] == ["b", "b"]
    works.clock.at_s += 31.0
    await answer(works, Asked())
    assert works.seen.receipts[-1].deployment == "a"


async def test_the_only_deployment_is_tried_again_after_a_pause() -> None:
    works = plant({"a": Played(DEAD, ANSWER)})
    before_s = works.clock.at_s
    assert await answer(works, Asked()) == "Hello there"
    assert works.clock.at_s > before_s


async def test_a_budget_bounds_the_retries() -> None:
    rules = Rules(
        retries=RetryRules(attempts=3, budget_ratio=0.1, budget_burst=2.0), breaker=BreakerRules(failures=10_000)
    )
    works = plant({"a": Played(DEAD), "b": Played(DEAD)}, rules=rules)
    for _ in range(50):
        with pytest.raises((Unavailable, BackendError)):
            await answer(works, Asked())
    assert asked(works.backends["a"]) + asked(works.backends["b"]) <= 50 + 2 + 0.1 * 50


async def test_a_hedge_answers_when_the_first_says_nothing() -> None:
    works = plant({"a": Played((Hang(),)), "b": Played()}, by=route("a", "b", hedge_after_s=0.5))
    assert await answer(works, Asked()) == "Hello there"
    assert [(attempt.deployment, attempt.outcome) for attempt in works.receipt.attempts] == [
        ("a", "cancelled"),
        ("b", "ok"),
    ]
    assert works.backends["a"].active == 0, "the one that lost is stopped"


async def test_a_hedged_request_fails_with_what_the_first_one_said() -> None:
    works = plant({"a": Played(DEAD), "b": Played(DEAD)}, by=route("a", "b", hedge_after_s=0.0))
    with pytest.raises(TundishError):
        await answer(works, Asked())
    assert works.seen.running == 0
    assert all(attempt.outcome == "backend_died" for attempt in works.receipt.attempts)


async def test_a_shadow_is_on_record_and_nowhere_else() -> None:
    mirrored = route("a", shadow=Shadow(deployment="b", share=1.0))
    works = plant({"a": Played(), "b": Played(("Something", " else", " altogether"))}, by=mirrored)
    assert await answer(works, Asked()) == "Hello there"
    await until(lambda: len(works.seen.receipts) == 2)
    shadow = next(receipt for receipt in works.seen.receipts if receipt.shadow_of)
    assert (shadow.shadow_of, shadow.deployment, shadow.outcome) == ("req_1", "b", "ok")
    assert len(works.seen.records) == 1


async def test_a_shadow_stays_inside_the_allowed_places() -> None:
    mirrored = route("a", shadow=Shadow(deployment="b", share=1.0))
    works = plant({"a": Played(), "b": Played()}, {"a": "device"}, by=mirrored)
    await answer(works, Asked(claimed_class="restricted"))
    await works.dispatcher.stop()
    assert asked(works.backends["b"]) == 0


@LANES
async def test_a_client_that_leaves_frees_everything(kind: type[Played]) -> None:
    works = plant({"a": kind(("Hel", Hang()))})
    task = asyncio.create_task(answer(works, Asked(raw=True)))
    await until(lambda: bool(works.backends["a"].active))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert works.backends["a"].active == 0
    assert works.seen.running == 0
    assert works.receipt.outcome == "cancelled"
    assert [attempt.outcome for attempt in works.receipt.attempts] == ["cancelled"]


async def test_no_request_without_a_receipt() -> None:
    works = plant({"a": Played()})
    works.seen.accepting = "The disk is full."
    with pytest.raises(Unavailable, match="full"):
        await answer(works, Asked())
    works.seen.accepting = None
    assert await answer(works, Asked()) == "Hello there"


async def test_cost_and_baseline() -> None:
    prices = {
        "a": Price(input_nano_usd=100, output_nano_usd=400),
        "b": Price(input_nano_usd=2000, output_nano_usd=8000),
    }
    works = plant({"a": Played(), "b": Played()}, by=route("a", "b", baseline="b"), prices=prices)
    await answer(works, Asked())
    assert works.receipt.cost_nano_usd == 100 * 100 + 2 * 400
    assert works.receipt.baseline_nano_usd == 100 * 2000 + 2 * 8000


async def test_what_is_down_is_not_asked() -> None:
    works = plant({"a": Played(), "b": Played()})
    works.backends["a"].health = Health.RESTARTING
    await answer(works, Asked())
    assert asked(works.backends["a"]) == 0
    works.backends["b"].health = Health.STOPPED
    works.clock.at_s += 1.0
    with pytest.raises(NoDeploymentLeft, match="health"):
        await answer(works, Asked())


async def test_a_running_request_ends_at_the_site_that_it_began_at() -> None:
    release = Played(("Hel", Hang()))
    works = plant({"a": release})
    run = works.dispatcher.begin(Asked())
    got = await run.open()
    works.dispatcher.swap(Site(table=table({"b": "cloud"}), backends={"b": Played()}))
    assert (await got.next()) is not None
    assert await answer(works, Asked()) == "Hello there"
    await run.close()
    assert {receipt.deployment for receipt in works.seen.receipts} == {"a", "b"}
    with pytest.raises(ModelNotFound):
        works.dispatcher.begin(Asked("a"))


async def test_a_whole_answer_fails_over_even_late() -> None:
    works = plant({"a": Played(("Hel", BackendDied("Gone."))), "b": Played()})
    run = works.dispatcher.begin(Asked())
    whole = await run.whole()
    await run.close()
    assert (whole.deployment, whole.usage) == ("b", works.seen.records[0].usage)
    assert [attempt.outcome for attempt in works.receipt.attempts] == ["backend_died", "ok"]


async def test_models_that_are_not_configured_answer_for_themselves() -> None:
    backends = {"m": Played(*[DEAD] * 20)}
    works = plant(dict(backends))
    works.dispatcher.swap(Site(backends=backends))
    for _ in range(10):
        with pytest.raises(BackendDied, match=r"^It died\.$"):
            await answer(works, Asked("m"))
    assert asked(backends["m"]) == 10


async def test_one_that_comes_later_is_found_at_once() -> None:
    backends: dict[str, Played] = {"a": Played()}
    works = plant(dict(backends))
    works.dispatcher.swap(Site(backends=backends))
    await answer(works, Asked("a"))
    backends["late"] = Played()
    assert await answer(works, Asked("late")) == "Hello there"
    assert [model.name for model in works.dispatcher.models()] == ["a", "late"]
    del backends["late"]
    works.clock.at_s += 1.0
    with pytest.raises(ModelNotFound):
        await answer(works, Asked("late"))


async def test_digests_are_of_what_was_sent_and_given() -> None:
    works = plant({"a": PlayedRelay()})
    salts: list[bytes] = []
    recorded = works.seen.record
    works.seen.record = lambda receipt, salt: (salts.append(salt), recorded(receipt, salt))[1]  # type: ignore[method-assign]
    given: list[bytes] = []
    run = works.dispatcher.begin(Asked(raw=True))
    got = await run.open()
    while piece := await got.next():
        assert isinstance(piece, bytes)
        run.journal.wrote(piece)
        given.append(piece)
    run.complete()
    await run.close()
    assert works.receipt.request_digest == hmac.new(salts[0], b"{}", hashlib.sha256).hexdigest()
    assert works.receipt.answer_digest == hmac.new(salts[0], b"".join(given), hashlib.sha256).hexdigest()
    assert works.receipt.bytes_out == len(b"".join(given))


async def test_what_a_refused_client_is_told_is_in_the_digest() -> None:
    class Refusable(Asked):
        def refused(self, error: TundishError) -> bytes:
            return error.message.encode()

    works = plant({"a": Played()})
    salts: list[bytes] = []
    recorded = works.seen.record
    works.seen.record = lambda receipt, salt: (salts.append(salt), recorded(receipt, salt))[1]  # type: ignore[method-assign]
    for work in (Refusable(claimed_class="restricted"), Refusable("nobody")):
        with pytest.raises(TundishError) as caught:
            works.dispatcher.begin(work)
        expected = hmac.new(salts[-1], caught.value.message.encode(), hashlib.sha256).hexdigest()
        assert works.seen.receipts[-1].answer_digest == expected


async def test_a_receipt_has_the_hash_of_the_weights_that_answered() -> None:
    works = plant({"a": Played(DEAD), "b": Played()})
    settlement = Settlement(observer=works.seen, receipts=works.seen, model_hash={"a": "aa", "b": "bb"}.__getitem__)
    dispatcher = Dispatcher(site=works.dispatcher.site, settlement=settlement, clock=works.clock)
    await answer(dataclasses.replace(works, dispatcher=dispatcher), Asked())
    assert (works.receipt.deployment, works.receipt.model_hash) == ("b", "bb")


async def test_all_full_is_429_and_a_mistake_of_the_clients_stays_one() -> None:
    busy = Overloaded("'a' is full.", retry_after_s=30.0), Overloaded("'b' is full.", retry_after_s=20.0)
    works = plant({"a": Played((busy[0],)), "b": Played((busy[1],))})
    with pytest.raises(Overloaded, match=r"'a' is full\. 'b' is full\.") as caught:
        await answer(works, Asked())
    assert caught.value.retry_after_s == 20.0
    too_long = ContextLengthExceeded(prompt_tokens=5000, context_length=4096)
    works = plant({"a": Played((too_long,)), "b": Played((too_long,))})
    with pytest.raises(ContextLengthExceeded):
        await answer(works, Asked())
    works = plant({"a": Played((too_long,)), "b": Played(DEAD)})
    with pytest.raises(EveryAttemptFailed):
        await answer(works, Asked())
