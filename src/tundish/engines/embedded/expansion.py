"""From the packed model to a GGUF in the cache folder: whole or not at all, and never trusted without its hash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tundish.catalog import durable_file
from tundish.catalog.gguf import writer as gguf_writer
from tundish.catalog.gguf.writer import Buffer, MetadataValue, Tensor
from tundish.core.errors import ModelLoadFailed
from tundish.engines.embedded.packed import Q8_0, Pack, PackHeader, Payload, damaged
from tundish.harmony.vocabulary import O200K_HARMONY, Vocabulary

CONTEXT_LENGTH = 8_192
"""Nothing in the architecture ends there; the model was trained on a tenth of it."""
_SPARE_BYTES = 8 * 1024 * 1024
"""Left free on the disk."""
_ABANDONED_AFTER_S = 900.0
"""A draft that nobody has written to for this long is of a process that was killed."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MXFP4_FILE = 38
_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}<|message|>{{ message.content }}<|end|>{% endfor %}"
    "<|start|>assistant"
)
"""For tools that look for one; Tundish renders harmony itself."""

_log = logging.getLogger("tundish.engines")


class EmbeddedModelUnavailable(ModelLoadFailed):
    """There is no folder to expand gpt-oss-nano into."""

    code = "embedded_model_unavailable"


def expand(cache_dir: Path) -> Path:
    """The GGUF of gpt-oss-nano in `cache_dir`, written there if it is not there yet or damaged.

    A folder that cannot be written is replaced by one for temporary files, with a warning.

    Raises:
        EmbeddedModelUnavailable: no room, or no folder can be written.
        ModelFileInvalid: the installation is damaged.
    """
    pack = Pack.installed()
    try:
        return _expanded_in(cache_dir, pack)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _no_room(cache_dir, pack.header) from error
        reason = error.strerror or str(error)
    try:
        folder = _private_temporary_folder()
        _log.warning("%s cannot be written (%s): gpt-oss-nano is expanded into %s instead", cache_dir, reason, folder)
        return _expanded_in(folder, pack)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _no_room(Path(tempfile.gettempdir()), pack.header) from error
        raise EmbeddedModelUnavailable(
            f"gpt-oss-nano is expanded into {cache_dir} on first use, which cannot be written ({reason}), "
            f"and neither can the folder for temporary files ({error.strerror or error}). "
            "Set TUNDISH_CACHE_DIR to a folder that can be written."
        ) from error


def sha256() -> str:
    """Of what `expand` gives, hexadecimal.

    Raises:
        ModelFileInvalid: the installation is damaged.
    """
    return Pack.installed().header.expanded_sha256


def _expanded_in(folder: Path, pack: Pack) -> Path:
    path = folder / f"gpt-oss-nano-{pack.header.expanded_sha256[:16]}.gguf"
    if _is_intact(path, pack.header):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_drafts(folder)
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < pack.header.expanded_bytes + _SPARE_BYTES:  # some network disks tell nothing
        raise _no_room(folder, pack.header, free_bytes=disk.free)
    draft = folder / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        _write(draft, pack)
        _put_in_place(draft, path, pack.header)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return path


def _is_intact(path: Path, header: PackHeader) -> bool:
    try:
        if path.stat().st_size != header.expanded_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == header.expanded_sha256
    except OSError:
        return False


def _write(draft: Path, pack: Pack) -> None:
    hashed = hashlib.sha256()
    with draft.open("xb") as file:
        for piece in contents(pack.header, pack.payload(), O200K_HARMONY()):
            hashed.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if hashed.hexdigest() != pack.header.expanded_sha256:
        damaged()


def _put_in_place(draft: Path, path: Path, header: PackHeader) -> None:
    try:
        draft.replace(path)
    except PermissionError:
        # Windows: another process expanded it at the same moment and has loaded it.
        if not _is_intact(path, header):
            raise
        draft.unlink(missing_ok=True)
    durable_file.sync_folder(path.parent)


def _remove_abandoned_drafts(folder: Path) -> None:
    for draft in folder.glob(".gpt-oss-nano-*.part"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _ABANDONED_AFTER_S:
                draft.unlink()


def _no_room(folder: Path, header: PackHeader, *, free_bytes: int | None = None) -> EmbeddedModelUnavailable:
    free = "" if free_bytes is None else f", {free_bytes / 1e6:.0f} MB are free"
    needed = (header.expanded_bytes + _SPARE_BYTES) / 1e6
    return EmbeddedModelUnavailable(
        f"The disk of {folder} has no room for gpt-oss-nano: {needed:.0f} MB are needed{free}. "
        "Free some space, or set TUNDISH_CACHE_DIR to a folder on another disk."
    )


def _private_temporary_folder() -> Path:
    """The same at every start, so that it is written once; nobody else may have put something there."""
    if sys.platform == "win32":  # the folder for temporary files is the user's own
        folder = Path(tempfile.gettempdir()) / "tundish"
        folder.mkdir(exist_ok=True)
        return folder
    folder = Path(tempfile.gettempdir()) / f"tundish-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="tundish-"))


def contents(header: PackHeader, payload: Payload, vocabulary: Vocabulary) -> Iterator[Buffer]:
    """The GGUF, in pieces."""
    size = vocabulary.size
    dims = (header.shape.hidden, size)
    embedding, output = _full_matrices(payload, size)
    tensors = [
        Tensor(name="token_embd.weight", dims=dims, kind=Q8_0, data=embedding),
        Tensor(name="output.weight", dims=dims, kind=Q8_0, data=output),
        *payload.tensors,
    ]
    return gguf_writer.write(_metadata(header, vocabulary), tensors)


def _full_matrices(payload: Payload, size: int) -> tuple[bytearray, bytearray]:
    """Token embedding and output matrix: the kept rows in their places, one row for all others."""
    length = len(payload.unknown_row)
    embedding = bytearray(bytes(payload.unknown_row) * size)
    output = bytearray(bytes(payload.silent_row) * size)
    for place, token in enumerate(payload.kept_ids):
        row = payload.rows[place * length : (place + 1) * length]
        start = token * length
        embedding[start : start + length] = row
        output[start : start + length] = row
        output[start + 2] = 0  # channel 0: after the block's scale, which is two bytes
    return embedding, output


def _metadata(header: PackHeader, vocabulary: Vocabulary) -> Mapping[str, MetadataValue]:
    shape = header.shape
    return {
        "general.architecture": "gpt-oss",
        "general.type": "model",
        "general.name": "gpt-oss-nano",
        "general.license": "apache-2.0",
        "general.file_type": _MXFP4_FILE,
        "general.quantization_version": 2,
        "gpt-oss.block_count": shape.layers,
        "gpt-oss.context_length": CONTEXT_LENGTH,
        "gpt-oss.embedding_length": shape.hidden,
        "gpt-oss.feed_forward_length": shape.expert_width,
        "gpt-oss.expert_feed_forward_length": shape.expert_width,
        "gpt-oss.expert_count": shape.experts,
        "gpt-oss.expert_used_count": shape.experts_used,
        "gpt-oss.attention.head_count": shape.heads,
        "gpt-oss.attention.head_count_kv": shape.kv_heads,
        "gpt-oss.attention.key_length": shape.head_dim,
        "gpt-oss.attention.value_length": shape.head_dim,
        "gpt-oss.attention.layer_norm_rms_epsilon": shape.rms_epsilon,
        "gpt-oss.attention.sliding_window": shape.sliding_window,
        "gpt-oss.rope.freq_base": shape.rope_base,
        "gpt-oss.rope.scaling.type": "yarn",
        "gpt-oss.rope.scaling.factor": shape.rope_factor,
        "gpt-oss.rope.scaling.original_context_length": shape.rope_original_context,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-4o",
        "tokenizer.ggml.tokens": vocabulary.gguf_tokens(),
        "tokenizer.ggml.token_type": vocabulary.gguf_token_types(),
        "tokenizer.ggml.merges": vocabulary.gguf_merges(),
        "tokenizer.ggml.bos_token_id": vocabulary.special("<|startoftext|>"),
        "tokenizer.ggml.eos_token_id": vocabulary.special("<|return|>"),
        "tokenizer.ggml.eot_token_id": vocabulary.special("<|return|>"),
        "tokenizer.ggml.padding_token_id": vocabulary.special("<|endoftext|>"),
        "tokenizer.chat_template": _TEMPLATE,
    }
