"""How receipts are shown to people."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

import msgspec

from tundish.cli.model_view import table
from tundish.ledger.finding import Report
from tundish.ledger.leaf import Amendment
from tundish.ledger.receipt import Attempt, Receipt
from tundish.ledger.search import Found


class _Refusal(msgspec.Struct, frozen=True):
    constraint: str
    reason: str


class _Judgement(msgspec.Struct, frozen=True):
    """As the dispatcher writes a decision's judgements down."""

    deployment: str
    place: str = ""
    refusal: _Refusal | None = None
    score: float | None = None
    estimate_usd: float | None = None
    expected_s: float | None = None


def money(nano_usd: int) -> str:
    """Nano-dollars as dollars, with as many decimals as a small sum needs."""
    digits = (
        2 if abs(nano_usd) >= 100 * 10**9 or nano_usd == 0 else 9 if abs(nano_usd) < 10**6 and nano_usd % 1000 else 6
    )
    return f"{'-' if nano_usd < 0 else ''}${abs(nano_usd) / 1e9:,.{digits}f}"


def moment(time_us: int) -> str:
    """Unix time in microseconds, for people, in UTC."""
    try:
        return datetime.datetime.fromtimestamp(time_us // 1_000_000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # a clock gone wild
        return f"{time_us} µs"


def list_text(receipts: Sequence[Receipt]) -> str:
    """One line each."""
    rows = [("ARRIVED (UTC)", "REQUEST", "ROUTE", "CLASS", "DEPLOYMENT", "PLACE", "OUTCOME", "TOKENS", "COST", "MS")]
    for receipt in receipts:
        cost = "" if receipt.cost_nano_usd is None else money(receipt.cost_nano_usd)
        rows.append(
            (
                moment(receipt.arrived_us),
                receipt.request_id,
                receipt.route,
                receipt.data_class,
                receipt.deployment,
                receipt.place,
                receipt.outcome,
                _tokens(receipt, short=True),
                cost,
                str(receipt.duration_ms),
            )
        )
    return table(rows)


def explanation(found: Found, standing: str) -> str:
    """Everything about one request; `standing`: what is known of its proof, as a sentence."""
    receipt = found.receipt
    lines = [
        f"Request    {receipt.request_id}",
        f"Arrived    {moment(receipt.arrived_us)} UTC, {receipt.surface}, key {receipt.key_id or '–'}"
        + (f", project {receipt.project}" if receipt.project else ""),
    ]
    if receipt.shadow_of:
        lines.append(f"Mirrors    {receipt.shadow_of}; its answer went to nobody")
    sources = ", ".join(receipt.label_sources)
    lines += [
        f"Class      {receipt.data_class or 'not known yet when it was refused'}"
        + (f"  ({sources})" if sources else ""),
        f"Route      {receipt.route}" + (f", mode {receipt.mode}" if receipt.mode else ""),
        f"Decided    under policy {receipt.policy_version[:12]}, configuration {receipt.table_version[:12]}",
        *_section("Candidates", _candidates(receipt)),
        *_section("Attempts", [_attempt(number, one) for number, one in enumerate(receipt.attempts, 1)]),
        f"Outcome    {_outcome(receipt)}",
        f"Tokens     {_tokens(receipt)}",
        f"Cost       {_cost(receipt)}",
        f"Bytes      {receipt.bytes_out} to the client",
        f"Receipt    log {found.log}, leaf {found.index}. {standing}",
        *_section("Amended", [_amendment(one) for one in found.amendments]),
    ]
    return "\n".join(lines)


def report_text(report: Report) -> str:
    """What an examination found."""
    lines: list[str] = []
    for log in report.logs:
        line = (
            f"log {log.log}: {log.receipts} receipts in {log.leaves} leaves, {log.sealed} of them under a signed head"
        )
        if log.amendments:
            line += f", {log.amendments} amendments"
        if log.lost:
            line += f"; {log.lost} receipts were lost, and the log says so"
        lines.append(line)
        if log.unsealed:
            lines.append(
                f"  The last {log.unsealed} are not signed yet and prove nothing: a running endpoint signs once a "
                "second, and the next start signs what a crash has left."
            )
        if len(log.keys) > 1:
            lines.append(f"  signed by {', then '.join(log.keys)}")
    lines += [str(found) for found in report.findings]
    lines.append("OK: nothing changed, removed, reordered or inserted." if report.ok else "NOT OK: see above.")
    return "\n".join(lines)


def _section(title: str, rows: Sequence[str]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"{'' if number else title:<10} {row}"


def _candidates(receipt: Receipt) -> Sequence[str]:
    try:
        judged = msgspec.json.decode(receipt.judged, type=list[_Judgement])
    except msgspec.MsgspecError:
        return ["cannot be read by this version; --json shows them as they are"]
    rows: list[str] = []
    for one in judged:
        where = f"{one.deployment} at {one.place}"
        if one.refusal is not None:
            rows.append(f"{where}: refused by {one.refusal.constraint} – {one.refusal.reason}")
            continue
        facts = [
            None if one.score is None else f"score {one.score:.3f}",
            None if one.estimate_usd is None else f"estimated {money(round(one.estimate_usd * 1e9))}",
            None if one.expected_s is None else f"expected in {one.expected_s:.2f} s",
            "answered" if one.deployment == receipt.deployment else None,
        ]
        rows.append(f"{where}: {', '.join(fact for fact in facts if fact) or 'might answer'}")
    return rows


def _attempt(number: int, attempt: Attempt) -> str:
    first = "" if attempt.first_token_ms is None else f", first token at {attempt.first_token_ms} ms"
    detail = f" – {attempt.detail}" if attempt.detail else ""
    return (
        f"{number}. {attempt.deployment} at {attempt.place}: {attempt.outcome}, {attempt.started_ms} … "
        f"{attempt.ended_ms} ms{first}, {attempt.bytes_sent} bytes sent{detail}"
    )


def _outcome(receipt: Receipt) -> str:
    took = f"after {receipt.duration_ms} ms"
    if receipt.first_token_ms is not None:
        took += f", first token at {receipt.first_token_ms} ms"
    if not receipt.deployment:
        return f"{receipt.outcome} {took}; no deployment answered"
    model = receipt.model + (f", weights {receipt.model_hash[:12]}…" if receipt.model_hash else "")
    return f"{receipt.outcome} {took}, by {receipt.deployment} at {receipt.place}" + (f" ({model})" if model else "")


def _tokens(receipt: Receipt, *, short: bool = False) -> str:
    prompt, completion = receipt.prompt_tokens, receipt.completion_tokens
    if prompt is None or completion is None:
        return "" if short else "not known"
    if short:
        return f"{prompt}+{completion}"
    cached = f" ({receipt.cached_tokens} of them cached)" if receipt.cached_tokens else ""
    return f"{prompt} in{cached}, {completion} out"


def _cost(receipt: Receipt) -> str:
    cost, baseline = receipt.cost_nano_usd, receipt.baseline_nano_usd
    if cost is None and not receipt.deployment:
        return "none: nobody answered"
    if cost is None:
        unmetered = receipt.prompt_tokens is None or receipt.completion_tokens is None
        return f"not known: {'the number of tokens is not' if unmetered else 'the deployment has no price'}"
    if baseline is None:
        return f"{money(cost)}; there is no baseline to compare it with"
    return f"{money(cost)}; at the baseline {money(baseline)}, so {money(baseline - cost)} saved"


def _amendment(amendment: Amendment) -> str:
    changes = ", ".join(f"{name} should be {value!r}" for name, value in amendment.changes.items())
    return f"{moment(amendment.time_us)} UTC by {amendment.by}: {amendment.reason}" + (
        f" ({changes})" if changes else ""
    )
