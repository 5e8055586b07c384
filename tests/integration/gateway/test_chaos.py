"""Every kind of bad weather at real upstream processes, in front of a real endpoint process.

In each site `far` is in a place that restricted data may not go to. It is well and would gladly answer; it counts who
comes, and nobody may.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.certificates import Authority

from .processes import Answered, GatewayProcess, UpstreamProcess, examine, receipts_of, serve, until, upstream

UPSTREAM_WEATHER = (
    "hang",
    "reset",
    "drip",
    "half",
    "no_json",
    "html",
    "busy",
    "broken",
    "crash",
    "empty",
    "garbage",
    "long_head",
    "long_event",
    "told",
)
OTHER_WEATHER = ("refused", "expired", "unknown_host", "redirect")
EVERY_WEATHER = (*UPSTREAM_WEATHER, *OTHER_WEATHER)
STORM = 60


IMPATIENT = "timeouts = { connect_s = 2, first_token_s = 0.4, between_tokens_s = 0.4, total_s = 0.8 }"
PATIENT = "timeouts = { connect_s = 20, first_token_s = 20, between_tokens_s = 20, total_s = 60 }"
COMES_BACK = ("busy", "broken")
"""What says, or means, that one should not ask again at once."""


def deployment(name: str, url: str, place: str, *more: str) -> str:
    lines = (
        f"[deployments.{name}]",
        'backend = "openai_compatible"',
        'model = "gpt-oss-120b"',
        f'remote_model = "{name}"',
        f'base_url = "{url}"',
        f'place = "{place}"',
        *more,
    )
    return "\n".join(lines)


def site(urls: Mapping[str, str], good: str, far: str, ca_file: Path, timeouts: str = IMPATIENT) -> str:
    """Each weather has two routes: with someone beside it who may answer, and with nobody but `far`."""
    parts = [
        '[places.rack]\nreach = "site"\n[places.cloud]\nreach = "global"',
        '[policy]\nclasses = ["public", "restricted"]\ndefault_class = "restricted"',
        '[[policy.rules]]\nclass = "public"\nplaces = ["*"]\n[[policy.rules]]\nclass = "restricted"\nplaces = ["rack"]',
        # What is looked at here is each failure, not the patience with many.
        "[retries]\nbudget_ratio = 5\nbudget_burst = 1000\n[breaker]\nfailures = 1000",
        deployment("good", good, "rack", PATIENT),
        deployment("far", far, "cloud", PATIENT),
    ]
    for name, url in urls.items():
        trust = (f'connections = {{ ca_file = "{ca_file}" }}',) if url.startswith("https") else ()
        parts.append(deployment(name, url, "rack", timeouts, *trust))
        parts.append(f'[routes.both-{name}]\nmode = "order"\nsticky = false\ndeployments = ["{name}", "good", "far"]')
        parts.append(f'[routes.alone-{name}]\nmode = "order"\nsticky = false\ndeployments = ["{name}", "far"]')
    return "\n".join(parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Town:
    """A gateway, an upstream with every weather, and one where nobody may go."""

    gateway: GatewayProcess
    near: UpstreamProcess
    far: UpstreamProcess

    def chat(self, route: str, *, stream: bool) -> Answered:
        # Named: what begins alike is one conversation else, and this is not about that.
        return self.gateway.chat(route, stream=stream, x_tundish_conversation=route)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    authority = Authority(folder)
    expired = authority.issue("expired", days=-1)
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(upstream(folder, "near"))
        far = stack.enter_context(upstream(folder, "far"))
        tls = stack.enter_context(upstream(folder, "tls", expired.certificate, expired.key))
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        urls = {weather: near.url(weather) for weather in UPSTREAM_WEATHER} | {
            "refused": f"http://127.0.0.1:{taken.getsockname()[1]}/v1",
            "expired": f"https://127.0.0.1:{tls.port}/good/v1",
            "unknown_host": "http://upstream.invalid/v1",
            "redirect": near.url(f"redirect/{far.port}"),
        }
        config = folder / "tundish.toml"
        config.write_text(site(urls, near.url("good"), far.url("good"), authority.file), encoding="utf-8")
        gateway = serve(folder, config)
        yield Town(gateway=gateway, near=near, far=far)
        assert gateway.stop() == 0
        assert far.connections == 0
        report = examine(gateway.receipts_folder)
        assert report.ok, report.findings


def one_receipt(town: Town, answered: Answered):
    """The only receipt of a request; none of its attempts was outside."""
    (receipt,) = receipts_of(town.gateway.receipts_folder, [answered.id])[answered.id]
    assert {attempt.place for attempt in receipt.attempts} <= {"rack"}
    assert town.far.connections == 0
    return receipt


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("weather", EVERY_WEATHER)
def test_another_one_that_may_answers(town: Town, weather: str, stream: bool) -> None:
    answered = town.chat(f"both-{weather}", stream=stream)
    assert answered.status == 200, answered.body
    assert answered.text.endswith("from good")
    receipt = one_receipt(town, answered)
    assert (receipt.outcome, receipt.deployment, receipt.place) == ("ok", "good", "rack")
    *failed, last = receipt.attempts
    assert (last.deployment, last.outcome) == ("good", "ok")
    if weather not in COMES_BACK or failed:  # once it has said when to come back, it is not even asked
        (attempt,) = failed
        assert attempt.deployment == weather
        assert attempt.outcome not in ("ok", "internal_error")
        assert attempt.detail


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("weather", EVERY_WEATHER)
def test_with_nobody_beside_it_there_is_a_typed_error(town: Town, weather: str, stream: bool) -> None:
    answered = town.chat(f"alone-{weather}", stream=stream)
    assert answered.status in ((200, 429, 502, 503, 504) if stream else (429, 502, 503, 504)), answered.body
    error = answered.error
    assert error["type"] in ("server_error", "rate_limit_error", "requests"), error
    assert error["code"] not in (None, "internal_error")
    assert error["message"]
    receipt = one_receipt(town, answered)
    assert receipt.outcome == error["code"]
    assert {attempt.deployment for attempt in receipt.attempts} <= {weather}
    after = town.chat("good", stream=stream)
    assert (after.status, after.text) == (200, "from good")


@pytest.mark.parametrize("weather", ["busy", "broken", "crash", "reset"])
def test_a_storm_reaches_nobody_but_those_who_may(town: Town, weather: str) -> None:
    """Many at once, whole and streamed, with and without someone who can answer."""

    def ask(number: int) -> Answered:
        return town.chat(f"{('both', 'alone')[number % 2]}-{weather}", stream=number % 4 < 2)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(STORM)))
    assert {answered.status for answered in answers[0::2]} == {200}
    assert {answered.text for answered in answers[0::2]} == {"from good"}
    assert {answered.status for answered in answers[1::2]} <= {429, 502, 503}
    receipts = receipts_of(town.gateway.receipts_folder, [answered.id for answered in answers])
    assert [len(found) for found in receipts.values()] == [1] * STORM
    assert town.far.connections == 0


def test_who_said_when_to_come_back_is_left_alone_until_then(town: Town) -> None:
    town.chat("both-busy", stream=False)
    before = town.near.requests("busy")
    answers = [town.chat(route, stream=False) for _ in range(5) for route in ("both-busy", "alone-busy")]
    assert town.near.requests("busy") == before
    assert {answered.status for answered in answers[0::2]} == {200}
    assert {answered.status for answered in answers[1::2]} <= {429, 503}
    assert all(0 < float(answered.headers["retry-after"]) <= 60 for answered in answers[1::2])
    assert town.far.connections == 0


def test_nothing_is_left_behind(town: Town) -> None:
    """After all of that: no request runs, no slot is taken, no connection hangs about."""
    until(lambda: town.gateway.metric("tundish_requests_running") == 0)
    assert town.gateway.metric("tundish_backend_slots_busy") == 0
    assert town.gateway.metric("tundish_backend_queued") == 0
    until(lambda: town.gateway.metric("tundish_http_connections") == 1)  # the one that asks


def test_an_upstream_that_is_killed_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        dying = stack.enter_context(upstream(tmp_path, "dying"))
        near = stack.enter_context(upstream(tmp_path, "near"))
        far = stack.enter_context(upstream(tmp_path, "far"))
        config = tmp_path / "tundish.toml"
        authority = Authority(tmp_path)
        urls = {"dying": dying.url("steady")}
        text = site(urls, near.url("good"), far.url("good"), authority.file, PATIENT)
        config.write_text(text, encoding="utf-8")
        gateway = serve(tmp_path, config)
        stack.callback(gateway.close)
        town = Town(gateway=gateway, near=near, far=far)
        routes = [f"{('both', 'alone')[number % 2]}-dying" for number in range(8)]
        begun = [gateway.begin(route, x_tundish_conversation=route) for route in routes]
        for one in begun:
            stack.callback(one.close)
        dying.process.kill()
        answers = [one.rest() for one in begun]
        for continued in answers[0::2]:
            assert continued.status == 200
            assert continued.text.startswith("and ")
            assert continued.text.endswith("from good")
            assert [attempt.deployment for attempt in one_receipt(town, continued).attempts] == ["dying", "good"]
        for ended in answers[1::2]:
            assert ended.status == 200
            assert ended.error["type"] == "server_error"
            assert ended.text.startswith("and ")
            assert one_receipt(town, ended).outcome == ended.error["code"]
        assert town.chat("good", stream=True).text == "from good"
        assert town.chat("alone-dying", stream=False).status in (502, 503)
        assert gateway.stop() == 0
        assert far.connections == 0
        assert examine(gateway.receipts_folder).ok
