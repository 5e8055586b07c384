"""Before a pull: which files, from where, and what each must be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import assert_never

from tundish.catalog.card import (
    EmbeddedSource,
    HubSource,
    LocalSource,
    ModelFile,
    ModelKey,
    UrlSource,
    Variant,
    require_safe_path,
)
from tundish.catalog.manifest import HashBasis, Pin
from tundish.sources.download import FileRequest
from tundish.sources.errors import RemoteChanged, SourceRefused, WrongContent
from tundish.sources.hub import Hub, HubFile, choose
from tundish.sources.transport import Transport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """One file to fetch."""

    path: str
    request: FileRequest
    transport: Transport
    basis: HashBasis
    """Why `request.sha256` is believed; PINNED with no hash: it will be pinned."""


async def make_plan(
    key: ModelKey, variant: Variant, *, http: Transport, hub: Hub, pins: Mapping[str, Pin]
) -> Sequence[PlannedFile]:
    """What to fetch for `variant`; a card's hash counts before a pin, a pin before what the source says today.

    Raises:
        SourceRefused, SourceUnreachable, Offline: the source cannot be listed.
        RemoteChanged: it now has another file than the pinned one.
    """
    source = variant.source
    match source:
        case HubSource():
            return await _from_hub(key, variant, source, hub, http, pins)
        case UrlSource():
            return [_planned(key, file, file.url or "", None, http, {}, pins) for file in variant.files]
        case EmbeddedSource():
            raise SourceRefused(f"{key} comes with Tundish itself; there is nothing to fetch.")
        case LocalSource():
            raise SourceRefused(f"{key} came as files or as a bundle; there is nowhere to fetch it from.")
        case _:
            assert_never(source)


async def _from_hub(
    key: ModelKey, variant: Variant, source: HubSource, hub: Hub, http: Transport, pins: Mapping[str, Pin]
) -> Sequence[PlannedFile]:
    listing = await hub.list_files(source.repo, source.revision)
    if variant.files:
        known = {file.path: file for file in listing.files}
        missing = [file.path for file in variant.files if file.path not in known]
        if missing:
            raise SourceRefused(f"{source.repo} has no {', '.join(missing)} (any more).")
        wanted = [(file, known[file.path]) for file in variant.files]
    else:
        wanted = [(_as_model_file(file), file) for file in choose(listing, source, variant.format)]
    headers = hub.headers()
    return [_planned(key, file, remote.url, remote, http, headers, pins) for file, remote in wanted]


def _as_model_file(file: HubFile) -> ModelFile:
    try:
        require_safe_path(file.path)
    except ValueError as error:
        raise WrongContent(f"The Hub lists a file that cannot be kept: {error}.") from None
    return ModelFile(path=file.path)


def _planned(
    key: ModelKey,
    file: ModelFile,
    url: str,
    remote: HubFile | None,
    transport: Transport,
    headers: Mapping[str, str],
    pins: Mapping[str, Pin],
) -> PlannedFile:
    pin = None if file.sha256 else pins.get(file.path)
    required = file.sha256 or (pin.sha256 if pin else None)
    stated = remote.sha256 if remote else None
    if required and stated and required != stated:
        raise changed(key, file.path, required=required, found=stated, pin=pin)
    basis = HashBasis.CARD if file.sha256 else HashBasis.SOURCE if stated else HashBasis.PINNED
    size_bytes = file.size_bytes or (pin.size_bytes if pin else None) or (remote.size_bytes if remote else None)
    request = FileRequest(url=url, name=file.path, headers=headers, size_bytes=size_bytes, sha256=required or stated)
    return PlannedFile(path=file.path, request=request, transport=transport, basis=basis)


def changed(key: ModelKey, path: str, *, required: str, found: str, pin: Pin | None) -> RemoteChanged:
    """The error for a file that is no longer what it was."""
    if pin is None:
        return RemoteChanged(
            f"The source of {key} has another {path} than the model card: sha256 {found}, must be {required}. The "
            "card must be corrected if the new file is right."
        )
    return RemoteChanged(
        f"The source of {key} has another {path} than when it first came here ({pin.pinned_at}): sha256 {found}, was "
        f"{required}. If you want the new one: tundish model pull --update {key}"
    )
