"""What the installed llama.cpp was built for: its vector units and the devices that it can compute on.

It is asked in a process of its own: a GPU's driver may crash, and whoever opens a GPU keeps some of its memory.
"""

from __future__ import annotations

import re
import subprocess
import sys

import msgspec

_TIME_LIMIT_S = 30.0
_FEATURE = re.compile(r"(\w+) = (\d+)")


class BuildDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that llama.cpp can compute on, beside the CPU."""

    name: str
    """As llama.cpp numbers it: `CUDA0`, `Metal`."""
    description: str
    total_bytes: int
    free_bytes: int
    integrated: bool


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """The installed llama.cpp."""

    features: tuple[str, ...]
    """What its CPU code uses here: `AVX2`, `FMA`, `REPACK` …"""
    devices: tuple[BuildDevice, ...]


def ask(interpreter: str = sys.executable) -> Build | None:
    """What the installed llama.cpp can use; None when it cannot be asked (it is missing, or it crashed)."""
    try:
        answer = subprocess.run(
            [interpreter, "-P", "-m", "tundish.engines.hardware.build"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIME_LIMIT_S,
            check=True,
        )
        return msgspec.json.decode(answer.stdout.splitlines()[-1], type=Build)
    except (OSError, subprocess.SubprocessError, IndexError, msgspec.DecodeError):
        return None


def main() -> None:
    """Answer on stdout, in one line of JSON."""
    import xllamacpp

    devices = [
        BuildDevice(
            name=str(device["name"]),
            description=str(device["description"]),
            total_bytes=int(str(device["memory_total"])),
            free_bytes=int(str(device["memory_free"])),
            integrated=kind == "GGML_BACKEND_DEVICE_TYPE_IGPU",
        )
        for device in xllamacpp.get_device_info()
        if (kind := getattr(device["type"], "name", "")) in _GPU_KINDS
    ]
    features = tuple(name for name, on in _FEATURE.findall(xllamacpp.get_system_info()) if on != "0")
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(Build(features=features, devices=tuple(devices))) + b"\n")


_GPU_KINDS = ("GGML_BACKEND_DEVICE_TYPE_GPU", "GGML_BACKEND_DEVICE_TYPE_IGPU")

if __name__ == "__main__":
    main()
