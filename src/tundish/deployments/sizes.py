"""Amounts of memory, for people."""

from __future__ import annotations


def in_words(size_bytes: float) -> str:
    """Bytes in powers of ten, as `12.1 GB`."""
    unit, factor = ("GB", 1e9) if size_bytes >= 1e9 else ("MB", 1e6)
    return f"{size_bytes / factor:.1f} {unit}"


def part_in_words(fraction: float, size_bytes: int) -> str:
    """How much of it, as `4.2 of 12.1 GB`."""
    number, unit = in_words(size_bytes).split(" ")
    factor = 1e9 if unit == "GB" else 1e6
    return f"{fraction * size_bytes / factor:.1f} of {number} {unit}"
