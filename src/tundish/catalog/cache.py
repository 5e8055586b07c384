"""The models folder: what is on this machine, wholly or not at all.

    <root>/<publisher>/<name>/<variant>/     a model: this folder appears in one step and goes in one step
               manifest.json, files/…
    <root>/.staging/                         being fetched or imported; survives a crash, is no model
    <root>/.trash/                           being deleted
    <root>/.locks/                           one writer at a time for each variant, across processes
    <root>/.pins/                            hashes of unverified files, from when they first came

Whoever changes a model holds its lock; the system releases it when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import secrets
import shutil
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path

import filelock
import msgspec

from tundish.catalog import durable_file
from tundish.catalog import manifest as manifests
from tundish.catalog.card import ModelCard, ModelKey, WeightFormat
from tundish.catalog.errors import CacheUnavailable, ModelBusy, ModelDamaged, from_os_error
from tundish.catalog.manifest import Manifest, Pin, Pins, PlacedFile

_MANIFEST = "manifest.json"
_FILES = "files"
_STAGING, _TRASH, _LOCKS, _PINS = ".staging", ".trash", ".locks", ".pins"
_READ_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CachedModel:
    """One variant on this machine."""

    folder: Path
    manifest: Manifest

    @property
    def key(self) -> ModelKey:
        """What it is filed under."""
        return self.manifest.key

    def path_of(self, file: PlacedFile) -> Path:
        """Where that file is."""
        return Path(file.location) if file.location else self.folder / _FILES / file.path

    @property
    def weights(self) -> Path:
        """What an engine is given: the GGUF (the first part of a split one), or the folder of other formats."""
        if self.manifest.variant.format is not WeightFormat.GGUF:
            elsewhere = self.manifest.files[0].location
            return Path(elsewhere).parent if elsewhere else self.folder / _FILES
        parts = sorted(file.path for file in self.manifest.files if file.path.lower().endswith(".gguf"))
        first = parts[0] if parts else self.manifest.files[0].path
        return next(self.path_of(file) for file in self.manifest.files if file.path == first)

    @property
    def weights_sha256(self) -> str:
        """Of the GGUF, hexadecimal, as its manifest has it; of a split one, of its parts' hashes, one a line. Empty for
        other formats."""
        parts = sorted((file.path, file.sha256) for file in self.manifest.files if file.path.lower().endswith(".gguf"))
        if len(parts) < 2:
            return parts[0][1] if parts else ""
        return hashlib.sha256("".join(f"{sha256}\n" for _, sha256 in parts).encode()).hexdigest()

    def problems(self) -> Sequence[str]:
        """What can be seen without reading the files: missing ones, wrong sizes."""
        found: list[str] = []
        for file in self.manifest.files:
            path = self.path_of(file)
            try:
                size_bytes = path.stat().st_size
            except OSError as error:
                found.append(f"{path}: {error.strerror or error}")
                continue
            if size_bytes != file.size_bytes:
                found.append(f"{path}: has {size_bytes} bytes, must have {file.size_bytes}")
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in the models folder. `unreadable` are folders whose manifest is damaged."""

    models: tuple[CachedModel, ...]
    unreadable: tuple[Path, ...]
    partial: Mapping[ModelKey, int]
    """Variants that are not complete: bytes that have arrived."""


class Cache:
    """The models folder at `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # --- reading --------------------------------------------------------------------------------------------

    def contents(self) -> Contents:
        """Everything there is; an absent folder is an empty one.

        Raises:
            CacheUnavailable: the folder is there but cannot be read.
        """
        models: list[CachedModel] = []
        unreadable: list[Path] = []
        with self._translated():
            for folder in self._model_folders():
                try:
                    models.append(CachedModel(folder=folder, manifest=manifests.read(folder / _MANIFEST)))
                except FileNotFoundError:
                    continue  # another process removed it while we looked
                except ModelDamaged:
                    unreadable.append(folder)
            arrived = {key: _folder_bytes(folder) for key, folder in self._staged()}
            partial = {key: count for key, count in arrived.items() if count}
        models.sort(key=lambda model: model.key)
        return Contents(models=tuple(models), unreadable=tuple(unreadable), partial=partial)

    def find(self, key: ModelKey) -> CachedModel | None:
        """The cached variant, or None.

        Raises:
            ModelDamaged: its manifest cannot be read.
        """
        folder = self._folder(key)
        with self._translated():
            try:
                manifest = manifests.read(folder / _MANIFEST)
            except (FileNotFoundError, NotADirectoryError):
                return None
        if manifest.key != key:
            raise ModelDamaged(
                f"{folder} holds {manifest.key}, not {key}. Remove that folder and pull the model again."
            )
        return CachedModel(folder=folder, manifest=manifest)

    def whole(self, key: ModelKey) -> CachedModel | None:
        """The cached variant if it is usable, as far as can be seen without reading its files."""
        try:
            model = self.find(key)
        except ModelDamaged:
            return None
        return None if model is None or model.problems() else model

    def known_keys(self) -> Sequence[ModelKey]:
        """Of everything that takes room here, whole, damaged or incomplete."""
        with self._translated():
            keys = {key for key, _ in self._staged()}
            for folder in self._model_folders():
                with contextlib.suppress(ValueError):  # not ours
                    keys.add(ModelKey(*folder.relative_to(self.root).parts))
        return sorted(keys)

    def cards(self) -> Sequence[ModelCard]:
        """A card for each model that is here: a model that was imported is known by it even if no catalog has it."""
        merged: dict[str, ModelCard] = {}
        for model in self.contents().models:
            card = model.manifest.card
            earlier = merged.get(card.full_name)
            both = card.variants if earlier is None else (*earlier.variants, *card.variants)
            merged[card.full_name] = msgspec.structs.replace(card, variants=both)
        return tuple(merged.values())

    def verify(self, model: CachedModel, on_bytes: Callable[[int], None] = lambda _: None) -> Sequence[str]:
        """Read every file again and compare; returns what is wrong, nothing if all is well."""
        problems = list(model.problems())
        if problems:
            return problems
        for file in model.manifest.files:
            path = model.path_of(file)
            try:
                found = hash_file(path, on_bytes)
            except OSError as error:
                problems.append(f"{path}: {error.strerror or error}")
                continue
            if found != file.sha256:
                problems.append(f"{path}: its sha256 is {found}, must be {file.sha256}")
        return problems

    def pins(self, key: ModelKey) -> Mapping[str, Pin]:
        """What unverified files of the variant were when they first came, by path."""
        with self._translated():
            try:
                content = self._pin_file(key).read_bytes()
            except FileNotFoundError:
                return {}
        try:
            return msgspec.json.decode(content, type=Pins).files
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CacheUnavailable(
                f"The pins in {self._pin_file(key)} are damaged ({error}). Delete that file to trust the source anew."
            ) from error

    # --- changing -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, key: ModelKey) -> Generator[None]:
        """Be the only one who changes the variant.

        Raises:
            ModelBusy: another process, or another task of this one, is at it.
            CacheUnavailable: the folder cannot be written.
        """
        path = self.root / _LOCKS / _slug(key)
        lock = filelock.FileLock(path, timeout=0, thread_local=False)
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise ModelBusy(str(key)) from None
        try:
            yield
        finally:
            lock.release()

    def staging(self, key: ModelKey, keep: Collection[str] = ()) -> Path:
        """The folder in which the variant's files are gathered (under `files`). Needs the lock.

        Of what an earlier attempt left there, only the paths in `keep` stay.
        """
        folder = self.root / _STAGING / _slug(key)
        with self._translated():
            # The manifest first: what an interrupted `publish` said of the files no longer holds.
            (folder / _MANIFEST).unlink(missing_ok=True)
            _drop_strangers(folder, keep)
            (folder / _FILES).mkdir(parents=True, exist_ok=True)
            self._empty_trash()
        return folder

    @contextlib.contextmanager
    def draft(self, key: ModelKey) -> Generator[Path]:
        """An empty folder for the variant's files, emptied again if they do not all come. Needs the lock."""
        files = self.staging(key) / _FILES
        try:
            yield files
        except BaseException:
            # What a failed import leaves is of no use to the next one, and big.
            with contextlib.suppress(OSError):
                _drop_strangers(files.parent, ())
            raise

    def publish(self, manifest: Manifest) -> CachedModel:
        """Turn the staged files into a model, in place of an earlier one. Needs the lock.

        The files must be durable already. Whatever else was staged is dropped.
        """
        staging = self.root / _STAGING / _slug(manifest.key)
        with self._translated():
            _drop_strangers(staging, {f"{_FILES}/{file.path}" for file in manifest.files if file.location is None})
            staging.mkdir(parents=True, exist_ok=True)
            for path in _folders_below(staging):
                durable_file.sync_folder(path)
            durable_file.write(staging / _MANIFEST, manifests.encode(manifest))
            return self._place(staging, manifest)

    def recover(self, key: ModelKey) -> CachedModel | None:
        """Finish a `publish` that a crash cut off between its last two steps. Needs the lock.

        The manifest is staged after everything else is durable, so its presence proves the rest.
        """
        staging = self.root / _STAGING / _slug(key)
        with self._translated():
            try:
                manifest = manifests.read(staging / _MANIFEST)
            except (FileNotFoundError, ModelDamaged):
                return None
            if manifest.key != key or CachedModel(folder=staging, manifest=manifest).problems():
                return None
            return self._place(staging, manifest)

    def _place(self, staging: Path, manifest: Manifest) -> CachedModel:
        folder = self._folder(manifest.key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            self._discard(folder)
        staging.rename(folder)
        durable_file.sync_folder(folder.parent)
        self._empty_trash()
        return CachedModel(folder=folder, manifest=manifest)

    def pin(self, key: ModelKey, pins: Mapping[str, Pin]) -> None:
        """Remember what unverified files are. Needs the lock."""
        with self._translated():
            self._pin_file(key).parent.mkdir(parents=True, exist_ok=True)
            durable_file.write(self._pin_file(key), msgspec.json.format(msgspec.json.encode(Pins(files=dict(pins)))))

    def remove(self, key: ModelKey) -> bool:
        """Take the variant away, and what has arrived of an incomplete one. Returns whether there was anything.

        Pins stay: a model that comes back as something else is noticed. Files that are not the cache's own stay.

        Raises:
            ModelBusy: another process is at it.
            CacheUnavailable: it cannot be deleted (on Windows: while an engine has it open).
        """
        if not self.root.is_dir():
            return False
        with self.locked(key), self._translated():
            found = [folder for folder in (self._folder(key), self.root / _STAGING / _slug(key)) if folder.exists()]
            for folder in found:
                self._discard(folder)
            self._empty_trash()
            for empty in (self._folder(key).parent, self._folder(key).parent.parent):
                with contextlib.suppress(OSError):  # not empty: other variants, other models
                    empty.rmdir()
        return bool(found)

    def free_bytes(self) -> int:
        """Room on the disk of the models folder."""
        folder = self.root
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with self._translated():
            return shutil.disk_usage(folder).free

    # --- the folder's inside --------------------------------------------------------------------------------

    def _folder(self, key: ModelKey) -> Path:
        return self.root / key.publisher / key.name / key.variant

    def _pin_file(self, key: ModelKey) -> Path:
        return self.root / _PINS / f"{_slug(key)}.json"

    def _model_folders(self) -> Iterator[Path]:
        for manifest in self.root.glob(f"[!.]*/*/*/{_MANIFEST}"):
            yield manifest.parent

    def _staged(self) -> Iterator[tuple[ModelKey, Path]]:
        for folder in self.root.glob(f"{_STAGING}/*"):
            publisher, _, rest = folder.name.partition("@")
            name, _, variant = rest.partition("@")
            with contextlib.suppress(ValueError):  # not ours
                yield ModelKey(publisher, name, variant), folder

    def _discard(self, folder: Path) -> None:
        trash = self.root / _TRASH
        trash.mkdir(exist_ok=True)
        folder.rename(trash / secrets.token_hex(8))

    def _empty_trash(self) -> None:
        # What cannot go now (open on Windows, being emptied by another process) goes the next time.
        for folder in self.root.glob(f"{_TRASH}/*"):
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise from_os_error(error, self.root) from error


def hash_file(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """The sha256 of a file, read in pieces; `on_bytes` hears the size of each.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            on_bytes(count)
    return digest.hexdigest()


def _slug(key: ModelKey) -> str:
    return f"{key.publisher}@{key.name}@{key.variant}"


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in (folder / _FILES).rglob("*"):
        with contextlib.suppress(OSError):  # it went while we looked
            total += path.stat().st_size if path.is_file() else 0
    return total


def _folders_below(folder: Path) -> Sequence[Path]:
    return [folder, *(path for path in folder.rglob("*") if path.is_dir())]


def _drop_strangers(staging: Path, keep: Collection[str]) -> None:
    """Delete what is staged but not to be kept: notes on progress, files of an earlier listing."""
    for path in sorted(staging.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # has files in it that stay
                path.rmdir()
        elif path.relative_to(staging).as_posix() not in keep:
            path.unlink()
