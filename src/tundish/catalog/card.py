"""Model cards: who published a model, under which terms, what it can do, and where each variant's files come from.

A card file is TOML (or JSON) with one publisher and any number of models; see docs/models.md. Sizes and hashes are only
given where somebody checked them: a file without a hash is *unverified* and is pinned when it is first fetched.
"""

from __future__ import annotations

import enum
import re
import urllib.parse
from typing import Annotated, TypeAlias, assert_never

import msgspec
from msgspec import Meta

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_RESERVED_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_PATH_PART = re.compile(r"[A-Za-z0-9_+=@()\[\],~ .-]+")
MAX_PATH_CHARS = 94
"""A file's path, "files/" put in front, fits the name field of a tar header (see `catalog.bundle`)."""


class Capability(enum.Enum):
    """What a model can be asked for."""

    CHAT = "chat"
    TOOLS = "tools"
    STRUCTURED_OUTPUT = "structured_output"
    REASONING = "reasoning"
    EMBEDDINGS = "embeddings"


class WeightFormat(enum.Enum):
    """How the weights are stored, and with it which engines read them."""

    GGUF = "gguf"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"


class DeviceKind(enum.Enum):
    """What a variant can run on."""

    CPU = "cpu"
    GPU = "gpu"
    NPU = "npu"


Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
PositiveBytes = Annotated[int, Meta(gt=0)]


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file of a variant. `path` is relative, with forward slashes."""

    path: str
    size_bytes: PositiveBytes | None = None
    sha256: Sha256 | None = None
    """None is unverified."""
    url: str | None = None
    """Where it is, for a variant whose source is plain URLs."""

    def __post_init__(self) -> None:
        require_safe_path(self.path)
        if self.url is not None and not _is_web_address(self.url):
            raise ValueError(f"the URL of {self.path} must be an https:// or http:// address, not {self.url!r}")


class HubSource(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag="hub",
    tag_field="kind",
):
    """A repository on the Hugging Face Hub. Its listing gives each file's size and hash when the model is fetched."""

    repo: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
    revision: str = "main"
    include: tuple[str, ...] = ()
    """Patterns for the files when the variant lists none; upper and lower case are the same, `*` stays in a folder.

    Where several GGUF models match (a whole file and its split twin), the one of fewest parts is taken.
    """


class UrlSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="url", tag_field="kind"):
    """Plain HTTP: each file has its `url`."""


class EmbeddedSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="embedded", tag_field="kind"):
    """Comes with Tundish itself."""


class LocalSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="local", tag_field="kind"):
    """Came as files; there is nowhere to fetch it from again."""


Source: TypeAlias = HubSource | UrlSource | EmbeddedSource | LocalSource


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One set of files that is the whole model, in one format and quantisation."""

    id: str
    format: WeightFormat
    quantisation: str
    source: Source
    devices: tuple[DeviceKind, ...] = (DeviceKind.CPU, DeviceKind.GPU)
    files: tuple[ModelFile, ...] = ()
    memory_bytes: PositiveBytes | None = None
    """What the publisher says it wants, where the publisher says it."""

    def __post_init__(self) -> None:
        _require_name("variant id", self.id)
        seen = {file.path.casefold() for file in self.files}
        if len(seen) != len(self.files):
            raise ValueError(f"variant {self.id} names a file twice (upper and lower case count as the same)")
        source = self.source
        match source:
            case HubSource():
                if bool(self.files) == bool(source.include):
                    raise ValueError(f"variant {self.id} needs either files or source.include")
            case UrlSource():
                if not self.files or any(file.url is None for file in self.files):
                    raise ValueError(f"variant {self.id} needs files, each with its url")
            case EmbeddedSource() | LocalSource():
                pass
            case _:
                assert_never(source)

    @property
    def size_bytes(self) -> int | None:
        """All files together, or None while one of them is unknown."""
        sizes = [file.size_bytes for file in self.files]
        known = [size for size in sizes if size is not None]
        return sum(known) if sizes and len(known) == len(sizes) else None

    @property
    def is_verified(self) -> bool:
        """Whether the card itself says what every file must be."""
        return bool(self.files) and all(file.sha256 is not None for file in self.files)


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model of one publisher. Variants are in order of preference."""

    publisher: str
    name: str
    version: str
    licence: str
    context_length: Annotated[int, Meta(gt=0)] | None = None
    """Tokens, as the publisher states them; what fits this machine is another matter."""
    capabilities: tuple[Capability, ...] = (Capability.CHAT,)
    description: str = ""
    parameters: Annotated[int, Meta(gt=0)] | None = None
    active_parameters: Annotated[int, Meta(gt=0)] | None = None
    """Used for one token, where that is fewer (mixture of experts)."""
    variants: Annotated[tuple[Variant, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        _require_name("publisher", self.publisher)
        _require_name("name", self.name)
        ids = [variant.id for variant in self.variants]
        if len(set(ids)) != len(ids):
            raise ValueError(f"model {self.name} has two variants of the same id")

    @property
    def full_name(self) -> str:
        """publisher/name."""
        return f"{self.publisher}/{self.name}"

    def only(self, variant: Variant) -> ModelCard:
        """The card of this one variant, as it is kept beside its files."""
        return msgspec.structs.replace(self, variants=(variant,))


class ModelKey(msgspec.Struct, frozen=True, order=True):
    """What the cache files a variant under."""

    publisher: str
    name: str
    variant: str

    def __post_init__(self) -> None:
        for what, text in (("publisher", self.publisher), ("name", self.name), ("variant id", self.variant)):
            _require_name(what, text)

    @classmethod
    def of(cls, card: ModelCard, variant: Variant) -> ModelKey:
        """The key of one variant of a card."""
        return cls(card.publisher, card.name, variant.id)

    def __str__(self) -> str:
        return f"{self.publisher}/{self.name}:{self.variant}"


def require_safe_path(path: str) -> None:
    """Refuse a file's path that could leave its folder or that some file system reads differently.

    Raises:
        ValueError: with what is wrong.
    """
    if not path or len(path) > MAX_PATH_CHARS:
        raise ValueError(f"a file's path has 1 to {MAX_PATH_CHARS} characters, not {len(path)}: {path[:120]!r}")
    for part in path.split("/"):
        if part in ("", ".", "..") or not _PATH_PART.fullmatch(part):
            raise ValueError(f"the path {path!r} must be relative, with plain names and forward slashes")
        if part.endswith((".", " ")) or part.startswith(" ") or _RESERVED_ON_WINDOWS.fullmatch(part):
            raise ValueError(f"the path {path!r} has the part {part!r}, which Windows cannot store")


def _is_web_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _require_name(what: str, text: str) -> None:
    if not _NAME.fullmatch(text) or text.endswith(".") or _RESERVED_ON_WINDOWS.fullmatch(text):
        raise ValueError(f"a {what} is lower-case letters, digits, '.', '_' and '-' (at most 96), not {text!r}")


def as_name(text: str) -> str:
    """The nearest name that a card may have: `Tiny Model.v2` → `tiny-model.v2`."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:96].rstrip("-._") or "model"
    return f"model-{name}" if _RESERVED_ON_WINDOWS.fullmatch(name) else name
