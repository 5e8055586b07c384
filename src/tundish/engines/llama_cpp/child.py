"""The child process: llama.cpp's own server on a loopback port, for its parent alone.

Protocol: a line of JSON on stdin (`ChildOptions`), a line of JSON on stdout (`{"url": …}`) when the model is loaded,
llama.cpp's log on stderr. The end of stdin means that the parent is gone, however it went: the child ends with it, so
that no model outlives its endpoint.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import xllamacpp

_DAY_S = 24 * 3600
_OOM_SCORE = "500"
_LAST_WORDS_S = 0.3
"""llama.cpp writes its log in a thread of its own, which would end with the process, the reason still unwritten."""


class ChildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All that the child is told. The key comes this way since a command line shows in the process list."""

    model_path: str
    api_key: str
    context_length: int
    kv_pool_tokens: int
    slots: int
    batch_tokens: int
    threads: int
    gpu_layers: int
    prompt_cache_mib: int
    kv_type: str
    repack: bool
    chat_template: bool
    slot_folder: str


class ChildReady(msgspec.Struct, frozen=True, kw_only=True):
    """The child's answer."""

    url: str


def main() -> None:
    """Serve until stdin ends."""
    _leave_signals_to_the_parent()
    _volunteer_for_the_oom_killer()
    os.umask(0o077)  # what it writes are prompts
    os.environ["GGML_NO_BACKTRACE"] = (
        "1"  # else an assertion starts a debugger, where one is installed, and ends seconds later
    )
    options = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildOptions)
    # llama.cpp writes to file descriptor 1 in places; the parent reads only our line from it.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import xllamacpp  # takes a tenth of a second: not before the signals are set

    try:
        server = xllamacpp.Server(_params(options))
    except RuntimeError:
        time.sleep(_LAST_WORDS_S)
        raise
    answer.write(msgspec.json.encode(ChildReady(url=server.listening_address)) + b"\n")
    answer.flush()
    threading.Event().wait()


def _leave_signals_to_the_parent() -> None:
    """Ctrl-C and a service manager's stop reach the whole group; the parent lets streams finish before it ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _volunteer_for_the_oom_killer() -> None:
    """When memory runs out the kernel should end a model, which comes back, and not the endpoint."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # it was a wish
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def _end_with_parent() -> None:
    try:
        while os.read(0, 4096):
            pass
    finally:
        os._exit(0)


def _params(options: ChildOptions) -> xllamacpp.CommonParams:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model_path
    params.n_ctx = options.kv_pool_tokens
    params.kv_unified = True  # else the context is divided by the slots
    params.kv_unified_per_slot = options.context_length
    params.n_parallel = options.slots
    params.cont_batching = True
    params.n_batch = params.n_ubatch = options.batch_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.n_gpu_layers = options.gpu_layers
    params.cache_ram_mib = options.prompt_cache_mib
    kv_type = xllamacpp.ggml_type.GGML_TYPE_Q8_0 if options.kv_type == "q8_0" else xllamacpp.ggml_type.GGML_TYPE_F16
    params.cache_type_k = params.cache_type_v = kv_type
    params.no_extra_bufts = not options.repack
    params.fit_params = False  # its trial run loads the whole vocabulary twice
    params.warmup = False
    params.use_jinja = options.chat_template
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [options.api_key]
    params.ui = False
    params.endpoint_slots = True
    params.endpoint_metrics = False
    params.slot_save_path = options.slot_folder
    params.sse_ping_interval = -1  # our own silence is measured by what the model says
    params.timeout_read = params.timeout_write = _DAY_S
    return params


if __name__ == "__main__":
    main()
