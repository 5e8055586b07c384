"""`tundish usage`: what was used, what it cost, and what was saved."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable, Mapping, Sequence

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.model_view import table
from tundish.cli.receipt_view import money
from tundish.core.errors import InvalidRequest, TundishError
from tundish.ledger.errors import from_os_error
from tundish.ledger.layout import open_receipts
from tundish.ledger.usage import Tally, Usage, UsageRow
from tundish.ledger.usage_count import counted
from tundish.settings import Settings

_DESCRIPTION = """\
Sum up the receipts: requests, tokens, money, and what was saved against each route's baseline, with the arithmetic.
What has no known price is said, and is in no sum. Days are UTC. The endpoint may be running or not.
"""
_BY: Mapping[str, Callable[[UsageRow], str]] = {
    "route": lambda row: row.route,
    "deployment": lambda row: row.deployment or "(nobody answered)",
    "project": lambda row: row.project or "(none)",
    "day": lambda row: row.day,
}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=tuple(_BY), default="route", help="what to sum up (route)")
    parser.add_argument("--since", metavar="DAY", help="from this day on, as 2026-11-24")
    parser.add_argument("--until", metavar="DAY", help="up to this day, included")
    parser.add_argument("--recount", action="store_true", help="count every receipt again, trusting no earlier count")
    parser.add_argument("--json", action="store_true", help="for programs; money in nano-dollars")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        usage = _usage(arguments, settings)
    except TundishError as error:
        if arguments.json:
            print(json.dumps({"error": {"code": error.code, "message": error.message}}), flush=True)
        raise
    sums, total = usage.by(_BY[arguments.by]), usage.total()
    if arguments.json:
        print(
            json.dumps(
                {
                    "by": arguments.by,
                    "rows": [{"name": name, **_document(tally)} for name, tally in sums.items()],
                    "total": _document(total),
                }
            )
        )
    elif not sums:
        print("No request has been receipted in that time.")
    else:
        print("\n".join([_table(arguments.by, sums, total), "", *_arithmetic(total)]))
    return EXIT_OK if sums else EXIT_FAILED


def _usage(arguments: argparse.Namespace, settings: Settings) -> Usage:
    since, until = _day(arguments.since, "since"), _day(arguments.until, "until")
    usage = Usage()
    try:
        receipts = open_receipts(settings.receipts_folder)
        for log in receipts.logs():
            usage.add(counted(receipts, log, afresh=arguments.recount))
    except OSError as error:
        raise from_os_error(error, settings.receipts_folder) from error
    return Usage(row for row in usage.rows() if (since or "") <= row.day and (until is None or row.day <= until))


def _day(text: str | None, name: str) -> str | None:
    try:
        return None if text is None else datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidRequest(f"--{name} takes a day as 2026-11-24, not {text!r}.", param=name) from None


def _document(tally: Tally) -> dict[str, int]:
    numbers = {name: getattr(tally, name) for name in tally.__struct_fields__}
    return {**numbers, "saved_nano_usd": tally.saved_nano_usd}


def _table(by: str, sums: Mapping[str, Tally], total: Tally) -> str:
    rows: list[tuple[str, ...]] = [
        (by.upper(), "REQUESTS", "FAILED", "TOKENS IN", "TOKENS OUT", "COST", "BASELINE", "SAVED", "NO PRICE")
    ]
    rows += [_row(name, tally) for name, tally in sums.items()]
    if len(sums) > 1:
        rows.append(_row("total", total))
    return table(rows)


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    compared = tally.compared > 0
    return (
        name,
        f"{tally.requests:,}",
        f"{tally.failed:,}" if tally.failed else "",
        f"{tally.prompt_tokens:,}",
        f"{tally.completion_tokens:,}",
        "not known" if tally.unpriced and not tally.cost_nano_usd else money(tally.cost_nano_usd),
        money(tally.baseline_nano_usd) if compared else "",
        money(tally.saved_nano_usd) if compared else "",
        f"{tally.unpriced:,}" if tally.unpriced else "",
    )


def _arithmetic(total: Tally) -> Sequence[str]:
    lines: list[str] = []
    if total.compared:
        word = "Saved" if total.saved_nano_usd >= 0 else "Spent more than the baseline:"
        lines.append(
            f"{word} {money(abs(total.saved_nano_usd))}: the {_requests(total.compared)} whose price and baseline are "
            f"both known would have cost {money(total.baseline_nano_usd)} at the baseline, and cost "
            f"{money(total.compared_nano_usd)}."
        )
    else:
        lines.append("Nothing can be compared: no request has both a known price and a route with a baseline.")
    if total.unpriced:
        lines.append(f"{_requests(total.unpriced)} {_have(total.unpriced)} no known price: in no sum of money.")
    if total.unmetered:
        lines.append(
            f"{_requests(total.unmetered)} {_have(total.unmetered)} no known number of tokens: in no sum of money."
        )
    if total.mirrored:
        lines.append(
            f"{_requests(total.mirrored)} were mirrored to compare deployments, for {money(total.mirrored_nano_usd)}: "
            "in the cost, but not taken off what was saved."
        )
    return lines


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


COMMAND = Command(
    name="usage",
    summary="what was used, what it cost, and what was saved",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
