"""What can go wrong with cards, cached models and bundles.

TundishError
├── InvalidRequest
│   ├── AmbiguousModel       a name that several models or variants answer to
│   ├── ModelEmbedded        comes with Tundish itself: there are no files to handle
│   └── NameTaken            another model is filed under that name
├── NotFound
│   └── ModelNotCached       known, but its files are not on this machine
├── Unavailable
│   └── ModelBusy            another process is fetching, importing or removing it
├── ModelLoadFailed
│   └── DoesNotFit           too large for this machine's memory; carries the numbers and what would fit
├── CardInvalid              a model card that cannot be used
├── CacheUnavailable         a folder of models, cards or keys cannot be read or written
├── DiskFull                 not enough room; carries both numbers
├── ModelDamaged             files that are not what the manifest says
└── BundleInvalid            a bundle that must not be imported
    └── SignerUnknown        signed, but by a key that nobody here trusts
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from tundish.core.errors import InvalidRequest, ModelLoadFailed, NotFound, TundishError, Unavailable


class AmbiguousModel(InvalidRequest):
    """Several models or variants answer to the name; the message lists them."""

    def __init__(self, name: str, choices: Sequence[str]) -> None:
        super().__init__(f"'{name}' may mean {', '.join(choices)}. Say which.", param="model", code="ambiguous_model")
        self.choices = tuple(choices)


class ModelEmbedded(InvalidRequest):
    """The model comes with Tundish itself; it can be served, but there are no files of it to handle."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} comes with Tundish itself: it needs no pull, and there are no files of it to verify, export or "
            "remove.",
            param="model",
            code="model_embedded",
        )
        self.name = name


class NameTaken(InvalidRequest):
    """Adding the files would delete those of another model."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is another model {name} here, whose files would be deleted. Choose another name with --name, or "
            f"remove it first: tundish model remove {name}",
            param="name",
            code="name_taken",
        )
        self.name = name


class ModelNotCached(NotFound):
    """The catalog knows the model, this machine does not have it yet."""

    code = "model_not_cached"

    def __init__(self, name: str) -> None:
        super().__init__(f"The model '{name}' is not on this machine yet. Fetch it with: tundish model pull {name}")
        self.name = name


class ModelBusy(Unavailable):
    """Another process works on the model's files."""

    code = "model_busy"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Another process is fetching, importing or removing {name} right now. Try again when it is done."
        )


class DoesNotFit(ModelLoadFailed):
    """The model is too large for this machine as it is now; nothing was loaded. Sizes are in bytes."""

    code = "model_does_not_fit"

    def __init__(
        self, message: str, *, needed_bytes: int, available_bytes: int, nearest_context_length: int | None
    ) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        self.nearest_context_length = nearest_context_length
        """In tokens; None when a shorter context does not help."""


class CardInvalid(TundishError):
    """A model card that cannot be used; the message names the file and the field."""

    code = "model_card_invalid"


class CacheUnavailable(TundishError):
    """A folder of models, cards or keys cannot be read or written."""

    code = "models_folder_unavailable"


class DiskFull(TundishError):
    """Not enough room on the disk of the models folder. Sizes are in bytes."""

    code = "disk_full"

    def __init__(self, folder: Path, *, needed_bytes: int | None = None, free_bytes: int | None = None) -> None:
        numbers = ""
        if needed_bytes is not None and free_bytes is not None:
            numbers = f": {needed_bytes / 1e9:.2f} GB are needed, {free_bytes / 1e9:.2f} GB are free"
        super().__init__(
            f"The disk of {folder} has no room for this{numbers}. What has arrived is kept. Free some space (tundish "
            "model list, tundish model remove), then run the same command again."
        )
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class ModelDamaged(TundishError):
    """The files on disk are not what the manifest says they are."""

    code = "model_damaged"


class BundleInvalid(TundishError):
    """A bundle that is damaged, incomplete, forged or hostile. Nothing of it was placed."""

    code = "bundle_invalid"


class SignerUnknown(BundleInvalid):
    """The signature is right, but the key that made it is not trusted here."""

    code = "bundle_signer_unknown"

    def __init__(self, public_key: str) -> None:
        super().__init__(
            f"The bundle is signed by {public_key}, which is not trusted on this machine. Compare that key with the "
            f"one its maker gave you by another way; if it is theirs, import with: --trust {public_key}"
        )
        self.public_key = public_key


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def from_os_error(error: OSError, folder: Path) -> TundishError:
    """What the user is told when the system refused to read or write below `folder`."""
    if error.errno in _NO_ROOM:
        return DiskFull(folder)
    return CacheUnavailable(
        f"The folder {folder} cannot be used: {error.strerror or error}"
        f"{f' ({error.filename})' if error.filename else ''}. Is it mounted, writable and yours?"
    )
