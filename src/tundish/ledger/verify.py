"""Examining receipts with the public key alone: is everything there that was, as it was, in its order?

An honest log costs one pass over its leaves. Only where a head does not fit, the leaves are compared with their index
one by one; the index is believed if its own root is the signed one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tundish.ledger import diagnosis, layout, leaf
from tundish.ledger.diagnosis import Difference
from tundish.ledger.finding import Finding, Kind, LogReport, Report
from tundish.ledger.head import Head
from tundish.ledger.layout import Receipts, open_receipts
from tundish.ledger.merkle import Frontier
from tundish.ledger.scan import Scan, scan_log


def verify(source: Path, public_keys: Collection[str], known_heads: Iterable[Head] = ()) -> Report:
    """Examine a folder of receipts or an export.

    `public_keys`: those that are trusted; a log passes if one of them signed it at any time, since each key signs its
    successor, and each head covers everything before it. `known_heads`: heads that somebody kept; what was cut off
    since then, or rewritten, shows by them.

    Raises:
        LedgerUnavailable: there are no receipts.
        OSError: they cannot be read.
    """
    receipts = open_receipts(source)
    scans = [scan_log(receipts, log) for log in receipts.logs()]
    kept: dict[str, list[Head]] = {}
    findings: list[Finding] = []
    trusted = set(public_keys)
    for scan in scans:
        trusted.update(key for _, key in scan.keys if not trusted.isdisjoint(key for _, key in scan.keys))
    for head in [*known_heads, *(head for scan in scans for head in scan.witnessed)]:
        if not head.is_genuine() or head.key not in trusted:
            detail = f"a head that was kept of it is not signed by a trusted key, but by {head.key}"
            findings.append(Finding(kind=Kind.SIGNATURE, log=head.log, detail=detail))
        elif head not in kept.setdefault(head.log, []):
            kept[head.log].append(head)
    present = {scan.log for scan in scans}
    for log, heads in kept.items():
        if log not in present:
            size = max(head.size for head in heads)
            findings.append(
                Finding(kind=Kind.LOG_REMOVED, log=log, index=0, count=size, detail=f"it had {size} leaves or more")
            )
    reports: list[LogReport] = []
    for scan in scans:
        heads = kept.get(scan.log, [])
        if not receipts.ends_sealed and any(head.size > len(scan.hashes) for head in heads):
            scan = scan_log(receipts, scan.log)  # it may have grown since, when another log saw it
        report, found = _judge(receipts, scan, public_keys, heads)
        reports.append(report)
        findings += found
    return Report(logs=tuple(reports), findings=tuple(findings))


def _judge(
    receipts: Receipts, scan: Scan, public_keys: Collection[str], kept: Sequence[Head]
) -> tuple[LogReport, list[Finding]]:
    findings = list(scan.findings)
    own = _genuine_heads(scan, public_keys, findings)
    good, bad = _fitting(scan.hashes, own)
    for head in kept:
        if head.size > good:
            bad.append(head)
        elif _fitting(scan.hashes, [head])[1]:
            detail = f"its first {head.size} leaves were others once: the root was {head.root}"
            findings.append(Finding(kind=Kind.REWRITTEN, log=scan.log, index=0, count=head.size, detail=detail))
    good, bad = _fitting(scan.hashes, sorted([*own, *bad], key=_size)) if bad else (good, bad)
    if bad:
        findings += _diagnose(receipts, scan, good, bad)
    elif own:
        findings += _check_index(receipts, scan, good)
        findings += _check_tail(receipts, scan, good)
    report = LogReport(
        log=scan.log,
        leaves=len(scan.hashes),
        receipts=scan.receipts,
        sealed=max((head.size for head in own), default=0),
        amendments=scan.amendments,
        lost=scan.lost,
        keys=tuple(key for _, key in scan.keys),
    )
    return report, findings


def _genuine_heads(scan: Scan, public_keys: Collection[str], findings: list[Finding]) -> list[Head]:
    """Heads that count. A trusted key vouches for its successors, which it signed itself; for its predecessors only
    where a head of its own, or of a successor, covers what they signed."""
    chain = [key for _, key in scan.keys]
    trusted_from = next((at for at, key in enumerate(chain) if key in public_keys), len(chain))
    vouched = set(chain[trusted_from:]) | set(public_keys)
    heads: list[Head] = []
    for number, seal in enumerate(scan.seals):
        if seal is not None and seal.head.log == scan.log and seal.head.is_genuine():
            heads.append(seal.head)
        else:
            detail = f"head {number} is not genuine: it was altered, or belongs to another log"
            findings.append(Finding(kind=Kind.SIGNATURE, log=scan.log, detail=detail))
    signed = [head for head in heads if head.key in vouched]
    covered = max((head.size for head in signed), default=0)
    genuine: list[Head] = []
    for head in sorted(heads, key=_size):
        in_time = not chain or head.key == _key_at(scan, head.size)
        if in_time and (head.key in vouched or head.size <= covered):
            genuine.append(head)
        elif covered:
            detail = f"the head over {head.size} leaves is signed by {head.key}, not by the log's key at that time"
            findings.append(Finding(kind=Kind.SIGNATURE, log=scan.log, detail=detail))
    if not genuine and scan.hashes:
        by = ", ".join(dict.fromkeys(head.key for head in heads)) or "nobody"
        detail = f"its {len(scan.hashes)} leaves are signed by {by}, not by the key that was given"
        findings.append(Finding(kind=Kind.SIGNATURE, log=scan.log, detail=detail))
    return genuine


def _key_at(scan: Scan, size: int) -> str:
    """The key that signs a head over so many leaves."""
    return next((key for first, key in reversed(scan.keys) if first < size), "")


def _size(head: Head) -> int:
    return head.size


def _fitting(hashes: Sequence[bytes], heads: Sequence[Head]) -> tuple[int, list[Head]]:
    """The largest size up to which all heads fit, and those after it, of which the first does not. Sorted by size."""
    frontier, good = Frontier(), 0
    for at, head in enumerate(heads):
        if head.size > len(hashes):
            return good, list(heads[at:])
        while frontier.size < head.size:
            frontier.append(hashes[frontier.size])
        if frontier.root().hex() != head.root:
            return good, list(heads[at:])
        good = head.size
    return good, []


def _diagnose(receipts: Receipts, scan: Scan, good: int, bad: Sequence[Head]) -> list[Finding]:
    expected, ids = layout.leaf_hashes(receipts, scan.log)
    observed_ids = _Ids(receipts, scan.log)
    believed, _ = _fitting(expected, [head for head in bad if head.size <= len(expected)])
    findings: list[Finding] = []
    if believed > good:
        differences = diagnosis.compare(expected[good:believed], scan.hashes[good:])

        def expected_id(one: Difference) -> str:
            if one.kind is Kind.INSERTED:
                return observed_ids.at(good + one.index)
            return ids[good + one.index]

        findings = diagnosis.merged(scan.log, differences, good, expected_id)
    rest = [head for head in bad if head.size > max(good, believed)]
    if rest:
        findings += _without_index(scan, max(good, believed) if findings else good, rest, observed_ids)
    return findings


def _without_index(scan: Scan, good: int, bad: Sequence[Head], observed_ids: _Ids) -> list[Finding]:
    """What can be said where the index was altered, too: by the lines' own numbers, and between which heads."""
    end = bad[-1].size
    first = min((at for at, index in enumerate(scan.indexes) if index is not None and index >= good), default=good)
    differences = diagnosis.compare_indexes(scan.indexes[min(first, good) :], good, end)

    def observed_id(one: Difference) -> str:
        return "" if one.position is None else observed_ids.at(min(first, good) + one.position)

    findings = diagnosis.merged(scan.log, differences, good, observed_id)
    if findings:
        return findings
    head = bad[0]
    detail = "one or more of them; which one cannot be told, since the index was altered, too"
    return [Finding(kind=Kind.CHANGED, log=scan.log, index=good, count=head.size - good, detail=detail)]


def _check_index(receipts: Receipts, scan: Scan, sealed: int) -> list[Finding]:
    indexed, _ = layout.leaf_hashes(receipts, scan.log)
    wrong = next(
        (at for at in range(sealed) if at >= len(indexed) or indexed[at] != scan.hashes[at]),
        None,
    )
    if wrong is None:
        return []
    return [Finding(kind=Kind.INDEX, log=scan.log, index=wrong, detail="the leaves themselves are whole")]


def _check_tail(receipts: Receipts, scan: Scan, sealed: int) -> list[Finding]:
    """Leaves after the last head cannot be proven; but what cannot even have been written there is told."""
    findings: list[Finding] = []
    ids = _Ids(receipts, scan.log)
    for position in range(sealed, len(scan.indexes)):
        index = scan.indexes[position]
        being_written = index is None and position == len(scan.indexes) - 1
        if receipts.ends_sealed or not (index == position or being_written):
            findings.append(
                Finding(
                    kind=Kind.INSERTED,
                    log=scan.log,
                    index=position,
                    request_id=ids.at(position),
                    detail="behind the last signed head",
                )
            )
    return findings


class _Ids:
    """The requests' ids of lines as they stand now."""

    def __init__(self, receipts: Receipts, log: str) -> None:
        self._receipts, self._log = receipts, log
        self._ids: list[str] | None = None

    def at(self, position: int) -> str:
        """Empty where there is no receipt."""
        if self._ids is None:
            self._ids = [_id_of(line) for line in layout.lines(self._receipts, self._log)]
        return self._ids[position] if position < len(self._ids) else ""


def _id_of(line: bytes) -> str:
    held = leaf.decode(line)
    return "" if held is None else leaf.request_id_of(held.entry)
