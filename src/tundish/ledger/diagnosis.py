"""Naming what is wrong: compares the leaves that should be there with those that are."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence

from tundish.ledger.finding import Finding, Kind


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One leaf that is not as it was."""

    kind: Kind
    index: int
    """Of the leaf as it was; of what was inserted: where it stands now."""
    position: int | None = None
    """Where it stands now, if anywhere."""


def compare(expected: Sequence[bytes], observed: Sequence[bytes]) -> list[Difference]:
    """What was done to leaves with the hashes `expected` that are now `observed`, in the order of the log.

    What follows the last leaf that was expected is no difference: it came later.
    """
    index_of = {leaf: index for index, leaf in reversed(list(enumerate(expected)))}
    # A leaf may stand there twice: whichever of the two keeps the order is taken for the original.
    known = [(position, index_of[leaf]) for position, leaf in enumerate(observed) if leaf in index_of]
    anchors = [known[at] for at in _longest_rising([index for _, index in known])]
    aliens = [position for position, leaf in enumerate(observed) if leaf not in index_of]
    seen = {index for _, index in anchors}
    anchored = {position for position, _ in anchors}
    moved: list[tuple[int, int]] = []
    for position, index in known:
        if position in anchored:
            continue
        if index in seen:
            aliens.append(position)
        else:
            seen.add(index)
            moved.append((position, index))
    aliens.sort()
    missing = [index for index in range(len(expected)) if index not in seen]
    differences = [Difference(kind=Kind.REORDERED, index=index, position=position) for position, index in moved]
    bounds = [(-1, -1), *anchors, (len(observed), len(expected))]
    for (before, after_index), (until, until_index) in itertools.pairwise(bounds):
        gone = missing[bisect.bisect_right(missing, after_index) : bisect.bisect_left(missing, until_index)]
        come = aliens[bisect.bisect_right(aliens, before) : bisect.bisect_left(aliens, until)]
        at_end = until_index == len(expected)
        changed = min(len(gone), len(come))
        for index, position in zip(gone, come, strict=False):
            differences.append(Difference(kind=Kind.CHANGED, index=index, position=position))
        cut = at_end and not any(position > before for position, _ in moved)
        differences += [
            Difference(kind=Kind.TRUNCATED if cut else Kind.REMOVED, index=index) for index in gone[changed:]
        ]
        if not at_end:
            differences += [
                Difference(kind=Kind.INSERTED, index=position, position=position) for position in come[changed:]
            ]
    return sorted(differences, key=lambda difference: (difference.index, difference.kind.value))


def compare_indexes(indexes: Sequence[int | None], first: int, end: int) -> list[Difference]:
    """The same for `indexes` that lines claim (None: unreadable), where nothing says what the leaves' hashes were.

    Finds what was removed, inserted or moved; what was changed in place it cannot see.
    """
    return compare(
        [index.to_bytes(8, "big") for index in range(first, end)],
        [b"" if index is None else max(0, index).to_bytes(8, "big") for index in indexes],
    )


def merged(
    log: str, differences: Iterable[Difference], offset: int, request_id: Callable[[Difference], str]
) -> list[Finding]:
    """Findings from differences that begin at leaf `offset`; neighbours that were removed or cut off become one."""
    findings: list[Finding] = []
    for one in differences:
        previous = findings[-1] if findings else None
        index = one.index + offset
        if (
            previous is not None
            and one.kind in (Kind.REMOVED, Kind.TRUNCATED)
            and previous.kind is one.kind
            and previous.last == index - 1
        ):
            findings[-1] = dataclasses.replace(previous, count=previous.count + 1)
            continue
        detail = ""
        if one.kind is Kind.REORDERED and one.position is not None:
            detail = f"it stands at {one.position + offset} now"
        findings.append(Finding(kind=one.kind, log=log, index=index, request_id=request_id(one), detail=detail))
    return findings


def _longest_rising(values: Sequence[int]) -> list[int]:
    """Positions of the longest rising subsequence of distinct values: what kept its order."""
    tails: list[int] = []
    tail_at: list[int] = []
    before: list[int] = []
    for at, value in enumerate(values):
        slot = bisect.bisect_left(tails, value)
        before.append(tail_at[slot - 1] if slot else -1)
        if slot == len(tails):
            tails.append(value)
            tail_at.append(at)
        else:
            tails[slot], tail_at[slot] = value, at
    rising: list[int] = []
    at = tail_at[-1] if tail_at else -1
    while at >= 0:
        rising.append(at)
        at = before[at]
    rising.reverse()
    return rising
