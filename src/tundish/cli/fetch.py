"""Before a model answers: have it on this machine."""

from __future__ import annotations

import asyncio

from tundish.app.library import open_library
from tundish.app.models import is_file
from tundish.catalog.errors import ModelNotCached
from tundish.catalog.fit import variants as fit_variants
from tundish.catalog.fit.variants import Verdict
from tundish.cli.pull_screen import PullScreen
from tundish.core.errors import ModelLoadFailed, ModelNotFound
from tundish.engines import hardware
from tundish.settings import Settings
from tundish.sources.library import Library


async def fetch_if_missing(settings: Settings, name: str) -> None:
    """Pull the model `name` if the catalog knows it and it is not here; progress goes to stderr.

    A file, and a name that the catalog does not know, are left for others to deal with.

    Raises:
        ModelLoadFailed: it would not fit this machine, so nothing is fetched.
        TundishError: it cannot be fetched.
    """
    if is_file(name):
        return
    library = open_library(settings)
    try:
        await asyncio.to_thread(library.resolve, name)
    except ModelNotFound:
        return
    except ModelNotCached:
        await _pull(library, name)


async def _pull(library: Library, name: str) -> None:
    card, variant = library.preferred(name)
    judged = fit_variants.judge(variant, await asyncio.to_thread(hardware.snapshot))
    if judged.verdict is Verdict.TOO_LARGE:
        raise ModelLoadFailed(
            f"{card.name} does not fit this machine: {judged.explanation}. `tundish model search` shows others; "
            f"`tundish model pull {name}` fetches it all the same."
        )
    screen = PullScreen(as_json=False, quiet=True)
    try:
        await library.pull(name, screen.show)
    finally:
        screen.end()
