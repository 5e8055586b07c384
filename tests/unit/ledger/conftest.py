"""Every log that a test opened is closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .logs import OPENED


@pytest.fixture(autouse=True)
def _closed_logs() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()
