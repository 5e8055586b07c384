"""Files that are something else, or less than they were."""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tundish.catalog import gguf
from tundish.core.errors import ModelFileInvalid


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"weights" * 100)
    return buffer.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


FOREIGN = {
    "empty": (b"", "empty"),
    "one byte": (b"G", "not a GGUF"),
    "three letters": (b"GGU", "not a GGUF"),
    "zip": (_zip(), "zip"),
    "safetensors": (_safetensors(), "safetensors"),
    "ELF": (b"\x7fELF\x02\x01\x01" + bytes(200), "Linux program"),
    "Windows program": (b"MZ\x90\x00" + bytes(200), "Windows program"),
    "gzip": (gzip.compress(b"GGUF" * 100), "gzip"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(64), "zstd"),
    "web page": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "web page"),
    "web page after a byte order mark": (b"\xef\xbb\xbf\r\n <html>", "web page"),
    "XML error": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page or XML"),
    "JSON": (b'{"error": "Repository not found"}', "JSON"),
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12109565632\n",
        "git lfs pull",
    ),
    "text": (b"gpt-oss-20b, 12 GB, ask Anna for the key\n", "not a GGUF"),
    "zeros": (bytes(4096), "never finished"),
    "noise": (bytes(range(255, 0, -1)) * 20, "not a GGUF"),
    "older format": (b"lmgg" + bytes(100), "older than GGUF"),
    "older format with versions": (b"tjgg" + struct.pack("<I", 3) + bytes(100), "older than GGUF"),
    "big-endian magic": (b"FUGG" + bytes(100), "big-endian"),
    "PDF": (b"%PDF-1.7\n" + bytes(100), "PDF"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_called_by_its_name(name: str, write: Callable[..., Path]) -> None:
    content, expected = FOREIGN[name]
    path = write(content)
    with pytest.raises(ModelFileInvalid, match=expected) as failure:
        gguf.read(path)
    assert str(path) in failure.value.message


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileInvalid, match="a folder"):
        gguf.read(tmp_path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileInvalid, match="No such file"):
        gguf.read(tmp_path / "absent.gguf")


def test_a_device_is_refused() -> None:
    with pytest.raises(ModelFileInvalid):
        gguf.read(Path(os.devnull))


if sys.platform != "win32":

    def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.gguf")
        with pytest.raises(ModelFileInvalid, match="a pipe"):
            gguf.read(tmp_path / "pipe.gguf")

    def test_a_socket_is_refused(tmp_path: Path) -> None:
        os.chdir(tmp_path) if len(str(tmp_path)) > 90 else None
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "s.gguf"))
            with pytest.raises(ModelFileInvalid, match="a socket"):
                gguf.read(tmp_path / "s.gguf")

    def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
        (tmp_path / "link.gguf").symlink_to(tmp_path / "gone.gguf")
        with pytest.raises(ModelFileInvalid, match="No such file"):
            gguf.read(tmp_path / "link.gguf")


@pytest.mark.parametrize(
    ("version", "order", "expected"),
    [
        (0, "<", "version 0"),
        (1, "<", "version 1, which llama.cpp no longer reads"),
        (4, "<", "version 4"),
        (2**31, "<", "big-endian"),
        (3, ">", "big-endian"),
    ],
)
def test_versions_that_cannot_be_read(version, order, expected, gpt_oss, write) -> None:
    gpt_oss.version, gpt_oss.byte_order = version, order
    with pytest.raises(ModelFileInvalid, match=expected):
        gguf.read(write(gpt_oss))


def test_version_2_is_read(gpt_oss, write) -> None:
    gpt_oss.version = 2
    assert gguf.read(write(gpt_oss)).is_gpt_oss


def test_cut_short_in_the_header_at_every_byte(gpt_oss, write) -> None:
    header = gpt_oss.header()
    lengths = {*range(300), *range(300, len(header), 97)}
    for length in sorted(lengths):
        with pytest.raises(ModelFileInvalid) as failure:
            gguf.read(write(header[:length]))
        if length >= 4:
            assert "cut short" in failure.value.message, length


def test_cut_short_in_the_weights_says_how_much_is_missing(gpt_oss, write) -> None:
    content = gpt_oss.encode()
    with pytest.raises(ModelFileInvalid, match=r"1000 are missing\. Fetch it again"):
        gguf.read(write(content[:-1000]))
    with pytest.raises(ModelFileInvalid, match="1 are missing"):
        gguf.read(write(content[:-1]))


def test_more_bytes_than_needed_do_no_harm(gpt_oss, write) -> None:
    assert gguf.read(write(gpt_oss.encode() + b"more")).is_gpt_oss
