"""The library of models, from its settings."""

from __future__ import annotations

from tundish.core.clock import Clock, SystemClock
from tundish.settings import Settings, proxy_for
from tundish.sources.hub import Hub
from tundish.sources.library import Folders, Library
from tundish.sources.plain_http import PlainHttp


def open_library(settings: Settings, clock: Clock | None = None) -> Library:
    """The library that the settings name; its folders need not exist yet."""
    folders = Folders(models=settings.models_folder, cards=settings.cards_folder, keys=settings.keys_folder)
    http = PlainHttp(proxy_for=proxy_for)
    return Library(folders, http=http, hub=Hub(), clock=clock or SystemClock(), offline=settings.offline)
