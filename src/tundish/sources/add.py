"""What `tundish model add` takes: a file, a folder, a repository on the Hub, or a plain URL."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec

from tundish.catalog import local_files
from tundish.catalog.card import (
    HubSource,
    ModelCard,
    ModelFile,
    UrlSource,
    Variant,
    WeightFormat,
    as_name,
)
from tundish.core.errors import InvalidRequest
from tundish.sources.errors import SourceRefused
from tundish.sources.hub import Hub, HubListing, gguf_sets

_REPO = re.compile(
    r"(?:hf:|hf\.co/|huggingface\.co/)?(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?::(?P<quantisation>[\w.-]+))?$"
)
_HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """Files or a folder on this machine."""

    path: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubRepository:
    """A repository on the Hub; `quantisation`: only that of its variants."""

    repo: str
    quantisation: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlainUrl:
    """One file somewhere on the web."""

    url: str


Origin: TypeAlias = LocalFiles | HubRepository | PlainUrl


def understand(what: str) -> Origin:
    """What the user means: a path that exists comes first, then a URL, then `[hf:]OWNER/REPO[:QUANTISATION]`.

    Raises:
        InvalidRequest: none of them.
    """
    path = Path(what).expanduser()
    if path.exists():
        return LocalFiles(path=path)
    if what.startswith(("http://", "https://")):
        parts = urlsplit(what)
        inside = [part for part in parts.path.split("/") if part]
        if parts.hostname in _HUB_HOSTS and len(inside) == 2:
            return HubRepository(repo="/".join(inside), quantisation=None)
        return PlainUrl(url=what)
    found = _REPO.fullmatch(what)
    if found and not what.startswith((".", "/", "~")) and not what.lower().endswith((".gguf", ".safetensors")):
        return HubRepository(repo=found["repo"], quantisation=found["quantisation"])
    raise InvalidRequest(
        f"There is no file {what}, and it is neither a URL nor a Hugging Face repository (OWNER/REPO).",
        param="what",
    )


def card_for_url(origin: PlainUrl, *, name: str | None, sha256: str | None = None) -> ModelCard:
    """A card with one variant of one file, fetched from the URL; unverified without `sha256`.

    Raises:
        InvalidRequest: the address does not name a model file.
    """
    file_name = unquote(urlsplit(origin.url).path).rpartition("/")[2]
    weights = next((known for known in WeightFormat if file_name.lower().endswith(f".{known.value}")), None)
    if weights is None:
        raise InvalidRequest(
            f"The address must end in a file name with .gguf, .safetensors or .onnx, not in {file_name!r}.",
            param="what",
        )
    quantised = local_files.quantisation(file_name)
    try:
        file = msgspec.convert({"path": file_name, "url": origin.url, "sha256": sha256}, ModelFile)
        variant = Variant(
            id=local_files.variant_id(quantised, weights),
            format=weights,
            quantisation=quantised,
            source=UrlSource(),
            files=(file,),
        )
        return ModelCard(
            publisher=local_files.PUBLISHER,
            name=name or local_files.model_name(file_name),
            version="1",
            licence="unknown",
            variants=(variant,),
        )
    except ValueError as error:
        raise InvalidRequest(f"That cannot be added: {error}.", param="what") from None


async def card_for_repository(hub: Hub, origin: HubRepository, *, name: str | None, revision: str) -> ModelCard:
    """A card with a variant for each GGUF in the repository, or one for its safetensors.

    Raises:
        SourceRefused: there is no model in it.
        SourceUnreachable, Offline: it cannot be listed.
        InvalidRequest: `name` cannot be a model's.
    """
    listing = await hub.list_files(origin.repo, revision)
    variants = _gguf_variants(listing, origin, revision) or _safetensors_variants(listing, revision)
    if origin.quantisation is not None:
        wanted = origin.quantisation.lower()
        variants = tuple(variant for variant in variants if variant.quantisation == wanted)
    if not variants:
        raise SourceRefused(
            f"{origin.repo} has no GGUF or safetensors model"
            f"{f' of the quantisation {origin.quantisation}' if origin.quantisation else ''}. "
            f"It has: {', '.join(file.path for file in listing.files[:20]) or 'nothing'}."
        )
    owner, _, repo = origin.repo.partition("/")
    try:
        return ModelCard(
            publisher=as_name(owner),
            name=name or as_name(re.sub(r"-gguf$", "", repo, flags=re.IGNORECASE)),
            version=listing.commit[:12] or "1",
            licence=listing.licence or "unknown",
            variants=variants,
        )
    except ValueError as error:
        raise InvalidRequest(f"That cannot be added: {error}.", param="name") from None


def _gguf_variants(listing: HubListing, origin: HubRepository, revision: str) -> tuple[Variant, ...]:
    variants: dict[str, Variant] = {}
    for whole, files in gguf_sets(listing.files):
        quantised = local_files.quantisation(whole)
        identity = local_files.variant_id(quantised, WeightFormat.GGUF)
        # Projectors of vision models and importance matrices are GGUFs too, but no models.
        if identity in variants or "mmproj" in whole.lower() or "imatrix" in whole.lower():
            continue
        variants[identity] = Variant(
            id=identity,
            format=WeightFormat.GGUF,
            quantisation=quantised,
            source=HubSource(repo=origin.repo, revision=revision),
            files=tuple(ModelFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256) for file in files),
        )
    return tuple(variants.values())


def _safetensors_variants(listing: HubListing, revision: str) -> tuple[Variant, ...]:
    if not any(file.path.endswith(".safetensors") for file in listing.files):
        return ()
    source = HubSource(
        repo=listing.repo,
        revision=revision,
        include=("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "LICENSE"),
    )
    quantised = local_files.quantisation(listing.repo)
    identity = local_files.variant_id(quantised, WeightFormat.SAFETENSORS)
    return (Variant(id=identity, format=WeightFormat.SAFETENSORS, quantisation=quantised, source=source),)
