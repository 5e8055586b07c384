from __future__ import annotations

import os

from tundish.engines.llama_cpp.load_progress import LoadProgress


def test_the_memory_that_it_has_of_what_it_will_have() -> None:
    progress = LoadProgress(10**12)
    assert progress.fraction() is None
    progress.begin(os.getpid())
    told = progress.fraction()
    assert told is not None
    assert 0.0 < told < 0.5
    progress.end()
    assert progress.fraction() is None


def test_it_is_never_done_before_it_is() -> None:
    progress = LoadProgress(1)
    progress.begin(os.getpid())
    assert progress.fraction() == 0.99


def test_without_a_size_or_a_process_it_is_unknown() -> None:
    for progress in (LoadProgress(None), LoadProgress(0)):
        progress.begin(os.getpid())
        assert progress.fraction() is None
    gone = LoadProgress(10**9)
    gone.begin(2**22 + 1)
    assert gone.fraction() is None
