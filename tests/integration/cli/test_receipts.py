"""`tundish receipts`, `explain` and `usage` on logs that a ledger wrote, while it runs and after."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tundish import settings
from tundish.cli import explain, receipts, usage
from tundish.cli.receipt_view import moment, money
from tundish.core.errors import InvalidRequest, TundishError
from tundish.ledger.digest import new_salt, salted_digest
from tundish.ledger.ledger import Ledger, Timing
from tundish.ledger.receipt import Attempt, Receipt

ANSWER = b'{"choices":[]}'
JUDGED = [
    {
        "deployment": "gpt-oss-20b",
        "place": "device",
        "refusal": None,
        "score": 0.7,
        "estimate_usd": 4e-5,
        "expected_s": 1,
    },
    {
        "deployment": "cloud-120b",
        "place": "azure-global",
        "refusal": {"constraint": "place", "reason": "'internal' may not go to azure-global."},
        "score": None,
        "estimate_usd": None,
        "expected_s": None,
    },
]


class Outcome(NamedTuple):
    code: int
    out: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]
COMMANDS = {command.name: command for command in (receipts.COMMAND, explain.COMMAND, usage.COMMAND)}


def receipt(number: int, salt: bytes, **fields: object) -> Receipt:
    known: dict[str, object] = {
        "request_id": f"req-{number}",
        "arrived_us": 1_764_000_000_000_000 + number * 1_000_000,
        "surface": "chat_completions",
        "key_id": "key-1",
        "project": "team",
        "route": "default",
        "mode": "balanced",
        "data_class": "internal",
        "label_sources": ("project=internal", "header=public"),
        "policy_version": "p" * 64,
        "table_version": "t" * 64,
        "judged": msgspec.Raw(msgspec.json.encode(JUDGED)),
        "attempts": (
            Attempt(
                deployment="gpt-oss-server",
                place="site",
                outcome="backend_error",
                started_ms=0,
                ended_ms=12,
                bytes_sent=700,
                detail="Connection refused.",
            ),
            Attempt(
                deployment="gpt-oss-20b",
                place="device",
                outcome="ok",
                started_ms=12,
                ended_ms=52,
                first_token_ms=20,
            ),
        ),
        "deployment": "gpt-oss-20b",
        "place": "device",
        "model": "gpt-oss-20b",
        "outcome": "ok",
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cost_nano_usd": 40_000,
        "baseline_nano_usd": 400_000,
        "duration_ms": 52,
        "first_token_ms": 20,
        "request_digest": salted_digest(salt, b"{}"),
        "answer_digest": salted_digest(salt, ANSWER),
        **fields,
    }
    return Receipt(**known)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "home/receipts", timing=Timing(flush_s=0.002, seal_s=0.01))
    for number in range(1, 6):
        salt = new_salt()
        opened.record(receipt(number, salt), salt)
    salt = new_salt()
    opened.record(receipt(6, salt, route="other", deployment="cloud-120b", place="azure", cost_nano_usd=None), salt)
    opened.record(
        receipt(7, salt, deployment="", place="", attempts=(), outcome="service_unavailable", cost_nano_usd=None),
        salt,
    )
    assert opened.sync()
    yield opened
    opened.close()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def do(*words: str) -> Outcome:
        command = COMMANDS[words[0]]
        parser = argparse.ArgumentParser()
        command.configure(parser)
        configured = settings.load({"TUNDISH_DATA_DIR": str(tmp_path / "home")})
        code = command.run(parser.parse_args(words[1:]), configured)
        return Outcome(code, capsys.readouterr().out)

    return do


@pytest.mark.usefixtures("ledger")
def test_the_latest_come_first_and_can_be_chosen(run: Run) -> None:
    lines = run("receipts", "list").out.splitlines()
    assert lines[0].split()[0] == "ARRIVED"
    assert "req-7" in lines[1]
    assert len(lines) == 8
    assert [one["request_id"] for one in run("receipts", "list", "--limit", "2", "--json").json()] == ["req-7", "req-6"]
    chosen = run("receipts", "list", "--route", "other", "--json").json()
    assert [one["request_id"] for one in chosen] == ["req-6"]
    assert run("receipts", "list", "--outcome", "nothing").out == "There are none.\n"


@pytest.mark.usefixtures("ledger")
def test_explain_tells_the_whole_decision(run: Run) -> None:
    outcome = run("explain", "req-3")
    assert outcome.code == 0
    for part in (
        "internal  (project=internal, header=public)",
        "gpt-oss-20b at device: score 0.700, estimated $0.000040, expected in 1.00 s, answered",
        "cloud-120b at azure-global: refused by place – 'internal' may not go to azure-global.",
        "1. gpt-oss-server at site: backend_error, 0 … 12 ms, 700 bytes sent – Connection refused.",
        "2. gpt-oss-20b at device: ok",
        "100 in, 50 out",
        "$0.000040; at the baseline $0.000400, so $0.000360 saved",
        "Proven to be in the log of 8 leaves",
    ):
        assert part in outcome.out, outcome.out
    assert "no deployment answered" in run("explain", "req-7").out
    document = run("explain", "req-3", "--json").json()
    assert document["receipt"]["judged"] == JUDGED
    assert document["sealed"] is True


def test_an_unknown_request_is_said_to_people_and_programs(
    run: Run, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TundishError, match="no receipt of the request 'req-99'"):
        run("explain", "req-99", "--json")
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "receipt_not_found"
    ledger.close()
    with pytest.raises(TundishError, match="no receipt"):
        run("receipts", "show", "req-99")


def test_a_client_checks_its_answer_with_the_public_key_alone(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    file, answer, other = tmp_path / "proof.json", tmp_path / "answer", tmp_path / "other"
    answer.write_bytes(ANSWER)
    other.write_bytes(ANSWER + b"!")
    assert "Check it with" in run("receipts", "prove", "req-2", "--output", str(file)).out
    ledger.close()
    check = ("receipts", "verify", "--proof", str(file), "--key", ledger.public_key)
    good = run(*check, "--answer", str(answer))
    assert good.code == 0
    assert "the receipt of req-2 is in the log" in good.out
    assert "the answer is the one that was receipted" in good.out
    bad = run(*check, "--answer", str(other), "--json")
    assert bad.code == 1
    assert "not the one that was receipted" in bad.json()["problems"][0]
    foreign = run("receipts", "verify", "--proof", str(file), "--key", "ed25519:" + "A" * 43)
    assert foreign.code == 1


def test_an_examiner_verifies_an_export_and_what_was_kept_before(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    heads, exported, key = tmp_path / "heads.json", tmp_path / "export.zip", tmp_path / "key"
    heads.write_text(run("receipts", "head").out)
    key.write_text(ledger.public_key + "\n")
    salt = new_salt()
    ledger.record(receipt(8, salt), salt)
    assert ledger.sync()
    grown = tmp_path / "grown.json"
    run("receipts", "prove", "--since", str(heads), "--output", str(grown))
    assert "only grew from 8 to 9" in run("receipts", "verify", "--proof", str(grown), "--key", str(key)).out
    run("receipts", "export", "--output", str(exported))
    checked = run("receipts", "verify", str(exported), "--key", str(key), "--head", str(heads))
    assert checked.code == 0
    assert "8 receipts in 9 leaves" in checked.out
    with pytest.raises(InvalidRequest, match="whose signature is trusted"):
        run("receipts", "verify", str(exported))


def test_tampering_is_told_with_the_request(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    assert run("receipts", "verify").code == 0
    ledger.close()
    (segment,) = (tmp_path / "home/receipts" / ledger.log).glob("leaves-*")
    segment.write_bytes(segment.read_bytes().replace(b'"route":"other"', b'"route":"othre"'))
    outcome = run("receipts", "verify")
    assert outcome.code == 1
    assert f"changed: log {ledger.log}, leaf 6, request req-6" in outcome.out
    document = run("receipts", "verify", "--json").json()
    assert (document["ok"], document["findings"][0]["kind"]) == (False, "changed")
    with pytest.raises(TundishError, match="altered"):
        run("receipts", "prove", "req-6")


@pytest.mark.usefixtures("ledger")
def test_an_amendment_stands_beside_the_receipt(run: Run) -> None:
    run("receipts", "amend", "req-1", "--by", "ops", "--reason", "The price was wrong.", "--set", "cost_nano_usd=7")
    shown = run("explain", "req-1").out
    assert "$0.000040;" in shown
    assert "by ops: The price was wrong. (cost_nano_usd should be 7)" in shown
    with pytest.raises(InvalidRequest, match="has no price"):
        run("receipts", "amend", "req-1", "--by", "ops", "--reason", "x", "--set", "price=7")
    assert run("receipts", "verify").code == 0


@pytest.mark.usefixtures("ledger")
def test_an_erased_salt_leaves_the_log_whole(run: Run) -> None:
    assert "Erased" in run("receipts", "erase-salt", "req-4").out
    assert "digests mean nothing any more" in run("explain", "req-4").out
    assert run("receipts", "verify").code == 0


def test_a_new_key(run: Run, ledger: Ledger) -> None:
    old = ledger.public_key
    outcome = run("receipts", "rotate-key", "--json")
    assert outcome.code == 0
    assert outcome.json()["old"] == old
    assert run("receipts", "verify", "--key", old).code == 0
    assert run("receipts", "verify", "--key", outcome.json()["new"]).code == 0


@pytest.mark.usefixtures("ledger")
def test_usage_shows_its_arithmetic_and_guesses_nothing(run: Run) -> None:
    outcome = run("usage")
    assert outcome.code == 0
    assert (
        "Saved $0.001800: the 5 requests whose price and baseline are both known would have cost $0.002000 at the "
        "baseline, and cost $0.000200." in outcome.out
    )
    assert "1 request has no known price" in outcome.out
    document = run("usage", "--by", "deployment", "--json", "--recount").json()
    assert [(row["name"], row["requests"]) for row in document["rows"]] == [
        ("(nobody answered)", 1),
        ("cloud-120b", 1),
        ("gpt-oss-20b", 5),
    ]
    assert document["total"]["saved_nano_usd"] == 1_800_000
    assert run("usage", "--by", "day", "--since", "2025-11-24", "--until", "2025-11-24").code == 0
    assert run("usage", "--until", "2024-01-01").code == 1
    with pytest.raises(InvalidRequest, match="takes a day"):
        run("usage", "--since", "yesterday")


def test_where_there_are_no_receipts_that_is_said(run: Run) -> None:
    for words in (("receipts", "list"), ("usage",), ("explain", "req-1"), ("receipts", "head")):
        with pytest.raises(TundishError, match="There are no receipts"):
            run(*words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--key", "/nonexistent/key"), "cannot be read"),
        (("--key", __file__), "whose signature is trusted"),
        (("--head", __file__), "holds no heads"),
        (("--proof", __file__), "not a proof"),
        (("--answer", __file__), "need the proof"),
    ],
)
@pytest.mark.usefixtures("ledger")
def test_files_that_are_something_else_are_refused(run: Run, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        run("receipts", "verify", *words)


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "$0.00"),
        (40, "$0.000000040"),
        (400_000, "$0.000400"),
        (1_500_000_000, "$1.500000"),
        (-(10**12), "-$1,000.00"),
    ],
)
def test_money_has_the_decimals_that_it_needs(nano_usd: int, text: str) -> None:
    assert money(nano_usd) == text


def test_a_clock_gone_wild_is_shown_as_it_is() -> None:
    assert moment(1_764_000_000_000_000) == "2025-11-24 16:00:00"
    assert moment(2**62) == f"{2**62} µs"
