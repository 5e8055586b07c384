"""Bundles: one file that carries a model to a machine without a network.

A bundle is an uncompressed tar (`tar tf` lists it) of, in this order and nothing else:

    manifest.json     the model card and, for each file, its size and sha256
    signature.json    an Ed25519 signature of the bytes of manifest.json, and the signer's public key
    files/…           each file of the manifest, in the manifest's order

The reader accepts exactly what the writer makes: plain files with short headers, the manifest's names in the manifest's
order, zeros to the end. Links, sparse files, extended headers and everything else that a tar can hold are refused, so
no general unpacker ever sees a hostile bundle. Nothing is read past the signature before it was verified.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from tundish.catalog import manifest as manifests
from tundish.catalog import signing
from tundish.catalog.cache import Cache, CachedModel
from tundish.catalog.durable_file import sync_folder
from tundish.catalog.errors import (
    BundleInvalid,
    DiskFull,
    ModelDamaged,
    SignerUnknown,
    from_os_error,
)
from tundish.catalog.manifest import MAX_MANIFEST_BYTES, HashBasis, Manifest, PlacedFile
from tundish.catalog.signing import KeyFolder
from tundish.core.clock import Clock
from tundish.core.errors import InvalidRequest

_PURPOSE = "tundish bundle 1"
_MANIFEST, _SIGNATURE, _FILES = "manifest.json", "signature.json", "files/"
_BLOCK = tarfile.BLOCKSIZE
_READ_BYTES = 1024 * 1024
_MAX_SIGNATURE_BYTES = 4096
_REGULAR = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})


class _Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    public_key: str
    signature: str
    algorithm: Literal["ed25519"] = "ed25519"


# --- writing ------------------------------------------------------------------------------------------------


def export(model: CachedModel, target: Path, keys: KeyFolder, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Write `model` to the bundle `target`, which appears only when it is whole; returns the signer's public key.

    Raises:
        ModelDamaged: a file is not what the manifest says; nothing is written.
        DiskFull, CacheUnavailable: the bundle, or the key, cannot be written.
    """
    draft = target.with_name(f".{target.name}.partial")
    try:
        key = keys.own()
        content = manifests.encode(_portable(model.manifest))
        signature = _Signature(public_key=signing.public_key_of(key), signature=signing.sign(key, _PURPOSE, content))
        with draft.open("wb") as out:
            _write_entry(out, _MANIFEST, content)
            _write_entry(out, _SIGNATURE, msgspec.json.encode(signature))
            for file in model.manifest.files:
                _copy_entry(out, model.path_of(file), file, on_bytes)
            out.write(bytes(2 * _BLOCK))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise from_os_error(error, target.parent) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return signature.public_key


def _portable(manifest: Manifest) -> Manifest:
    """Without anything that holds on this machine only."""
    files = tuple(msgspec.structs.replace(file, location=None) for file in manifest.files)
    return msgspec.structs.replace(manifest, files=files)


def _write_entry(out: BinaryIO, name: str, content: bytes) -> None:
    out.write(_header(name, len(content)))
    out.write(content)
    out.write(bytes(-len(content) % _BLOCK))


def _copy_entry(out: BinaryIO, path: Path, file: PlacedFile, on_bytes: Callable[[int], None]) -> None:
    out.write(_header(_FILES + file.path, file.size_bytes))
    digest, left = hashlib.sha256(), file.size_bytes
    with path.open("rb", buffering=0) as source:
        while left and (block := source.read(min(left, _READ_BYTES))):
            digest.update(block)
            out.write(block)
            left -= len(block)
            on_bytes(len(block))
        longer = bool(source.read(1))
    if left or longer or digest.hexdigest() != file.sha256:
        raise ModelDamaged(
            f"{path} is not what it was when it was placed, so it is not exported. Look with: tundish model verify; "
            "fetch it again with: tundish model pull"
        )
    out.write(bytes(-file.size_bytes % _BLOCK))


def _header(name: str, size_bytes: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size_bytes, 0o644
    header = entry.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")
    if len(header) != _BLOCK:
        raise InvalidRequest(f"The path {name} is too long for a bundle.")
    return header


# --- reading ------------------------------------------------------------------------------------------------


def import_bundle(
    path: Path,
    cache: Cache,
    keys: KeyFolder,
    clock: Clock,
    *,
    trust: str | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> CachedModel:
    """Place the model of the bundle at `path` in the cache, once all of it has been verified.

    `trust`: a public key to trust from now on.

    Raises:
        SignerUnknown, BundleInvalid: nothing was placed.
        ModelBusy, DiskFull, CacheUnavailable: nothing was placed.
    """
    try:
        with path.open("rb") as bundle:
            manifest, signer = _read_signed_manifest(bundle, path)
            _require_trust(keys, signer, trust)
            with cache.locked(manifest.key):
                return _unpack(bundle, path, manifest, signer, cache, clock, on_bytes)
    except OSError as error:
        if error.filename == str(path):
            raise BundleInvalid(f"The bundle {path} cannot be read: {error.strerror}.") from error
        raise from_os_error(error, cache.root) from error


def inspect(path: Path) -> tuple[Manifest, str]:
    """What is in a bundle, and the public key that signed it. The signature is checked, the files are not.

    Raises:
        BundleInvalid: it is no bundle, or the signature is wrong.
    """
    try:
        with path.open("rb") as bundle:
            return _read_signed_manifest(bundle, path)
    except OSError as error:
        raise BundleInvalid(f"The bundle {path} cannot be read: {error.strerror or error}.") from error


def _require_trust(keys: KeyFolder, signer: str, trust: str | None) -> None:
    if trust == signer:
        keys.trust(signer)
    if not keys.trusts(signer):
        raise SignerUnknown(signer)


def _read_signed_manifest(bundle: BinaryIO, path: Path) -> tuple[Manifest, str]:
    content = _read_small(bundle, path, _MANIFEST, MAX_MANIFEST_BYTES)
    signed = _read_small(bundle, path, _SIGNATURE, _MAX_SIGNATURE_BYTES)
    try:
        signature = msgspec.json.decode(signed, type=_Signature)
        right = signing.verify(signature.public_key, signature.signature, _PURPOSE, content)
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidRequest) as error:
        raise BundleInvalid(f"{path} has no signature that can be read: {error}.") from None
    if not right:
        raise BundleInvalid(
            f"The signature of {path} is wrong: the bundle was damaged or changed. Nothing was imported."
        )
    try:
        return msgspec.json.decode(content, type=Manifest), signature.public_key
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleInvalid(f"The manifest of {path} cannot be used: {error}.") from None


def _unpack(
    bundle: BinaryIO,
    path: Path,
    manifest: Manifest,
    signer: str,
    cache: Cache,
    clock: Clock,
    on_bytes: Callable[[int], None],
) -> CachedModel:
    present = cache.whole(manifest.key)
    if present is not None and _same_files(present.manifest, manifest):
        return present
    free = cache.free_bytes()
    if free < manifest.size_bytes:
        raise DiskFull(cache.root, needed_bytes=manifest.size_bytes, free_bytes=free)
    with cache.draft(manifest.key) as files:
        for file in manifest.files:
            if file.location is not None:
                raise BundleInvalid(f"{path} names a file outside of itself: {file.location}.")
            _unpack_file(bundle, path, file, files / file.path, on_bytes)
        _require_end(bundle, path)
        return cache.publish(_placed(manifest, signer, clock))


def _placed(manifest: Manifest, signer: str, clock: Clock) -> Manifest:
    """The manifest as it is kept here: this import is why the files are believed, wherever they came from before."""
    return msgspec.structs.replace(
        manifest,
        files=tuple(msgspec.structs.replace(file, basis=HashBasis.BUNDLE) for file in manifest.files),
        origin=f"bundle signed by {signer}",
        placed_at=clock.now().isoformat(timespec="seconds"),
    )


def _same_files(one: Manifest, other: Manifest) -> bool:
    return {(file.path, file.sha256) for file in one.files} == {(file.path, file.sha256) for file in other.files}


def _unpack_file(bundle: BinaryIO, path: Path, file: PlacedFile, target: Path, on_bytes: Callable[[int], None]) -> None:
    size_bytes = _next_entry(bundle, path, _FILES + file.path)
    if size_bytes != file.size_bytes:
        raise BundleInvalid(f"{file.path} in {path} has {size_bytes} bytes, must have {file.size_bytes}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), size_bytes
    with target.open("wb") as out:
        while left:
            block = bundle.read(min(left, _READ_BYTES))
            if not block:
                raise BundleInvalid(f"{path} is cut off in the middle of {file.path}. Copy it again.")
            digest.update(block)
            out.write(block)
            left -= len(block)
            on_bytes(len(block))
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != file.sha256:
        raise BundleInvalid(
            f"{file.path} in {path} is damaged: its sha256 is not the signed one. Copy the bundle again."
        )
    _skip_padding(bundle, path, size_bytes)


def _read_small(bundle: BinaryIO, path: Path, name: str, limit_bytes: int) -> bytes:
    size_bytes = _next_entry(bundle, path, name)
    if size_bytes > limit_bytes:
        raise BundleInvalid(f"{name} in {path} is larger than {limit_bytes} bytes.")
    content = bundle.read(size_bytes)
    if len(content) != size_bytes:
        raise BundleInvalid(f"{path} is cut off in the middle of {name}. Copy it again.")
    _skip_padding(bundle, path, size_bytes)
    return content


def _next_entry(bundle: BinaryIO, path: Path, expected: str) -> int:
    """Read the header of the entry that must come next; returns its size in bytes."""
    header = bundle.read(_BLOCK)
    try:
        entry = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        raise BundleInvalid(f"{path} is not a bundle, or cut off: where {expected} must be, there is none.") from None
    if entry.type not in _REGULAR or entry.name != expected or entry.linkname or entry.size < 0:
        raise BundleInvalid(f"{path} has {entry.name!r} where {expected!r} must be. Nothing was imported.")
    return entry.size


def _skip_padding(bundle: BinaryIO, path: Path, size_bytes: int) -> None:
    padding = -size_bytes % _BLOCK
    if bundle.read(padding) != bytes(padding):
        raise BundleInvalid(f"{path} is cut off, or has data between its entries.")


def _require_end(bundle: BinaryIO, path: Path) -> None:
    blocks = 0
    while block := bundle.read(_BLOCK):
        if block.strip(b"\0"):
            raise BundleInvalid(f"{path} has more in it than its manifest says. Nothing was imported.")
        if len(block) != _BLOCK:
            break
        blocks += 1
    if blocks < 2 or block:
        raise BundleInvalid(f"{path} is cut off at its end. Copy it again.")
