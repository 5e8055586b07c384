"""What a saved KV state depends on, as one name: the weights, the engine's version and how the model is run."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import msgspec

from tundish.engines.llama_cpp.options import EngineOptions

_SAMPLE_BYTES = 1024 * 1024
_FORMAT = 1
"""Of what this package keeps beside llama.cpp's own files."""


def fingerprint(options: EngineOptions) -> str:
    """32 hexadecimal digits that change whenever a state saved under them could not be used any more.

    The weights count by size, time of the last change and a digest of their beginning and end: to hash all of a
    12 GB file takes longer than what is saved. Reads the file: for a thread.

    Raises:
        OSError: the weights cannot be read.
    """
    parts = (
        _FORMAT,
        importlib.metadata.version("xllamacpp"),
        _weights(options.model_path),
        options.kv_type,
        options.context_length,
        options.kv_pool_tokens,
        options.slots,
        options.gpu_layers,
        options.repack,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def _weights(path: Path) -> tuple[int, int, str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_SAMPLE_BYTES))
        size = file.seek(0, 2)
        file.seek(max(_SAMPLE_BYTES, size - _SAMPLE_BYTES))
        digest.update(file.read(_SAMPLE_BYTES))
    return size, path.stat().st_mtime_ns, digest.hexdigest()
