from __future__ import annotations

import pytest

from tundish.engines.llama_cpp.process import describe_exit, first_complaint, last_words

LOAD = """\
0.00.002.312 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)
0.00.258.100 W load: setting token '<|message|>' (200008) attribute to USER_DEFINED (16), old attributes: 8
0.00.258.749 E llama_model_load: error loading model: tensor 'x' data is not within the file bounds
0.00.259.854 E llama_model_load_from_file_impl: failed to load model
0.00.259.944 E srv    load_model: failed to load model, '/m.gguf'
0.00.263.343 E srv          init: exiting due to model loading error
RuntimeError: Failed to init server, please check the input params.
"""
OPEN = """\
0.00.004.150 E gguf_init_from_file: failed to open GGUF file '/m.gguf' (No such file or directory)
0.00.004.297 E llama_model_load: error loading model: llama_model_loader: failed to load model from /m.gguf
"""
ABORT = """\
0.00.128.822 I srv    load_model: initializing, n_slots = 4
/src/llama-model.cpp:1390: GGML_ASSERT(n_expert_used_max <= hparams.n_expert) failed
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (LOAD, "tensor 'x' data is not within the file bounds"),
        (OPEN, "failed to open GGUF file '/m.gguf' (No such file or directory)"),
        (ABORT, "/src/llama-model.cpp:1390: GGML_ASSERT(n_expert_used_max <= hparams.n_expert) failed"),
        ("ModuleNotFoundError: No module named 'xllamacpp'", "ModuleNotFoundError: No module named 'xllamacpp'"),
        ("0.00.002.312 I all is well", ""),
        ("", ""),
    ],
)
def test_the_cause_is_the_first_complaint(log: str, reason: str) -> None:
    assert first_complaint(log.splitlines()) == reason


def test_a_refused_request_is_nobodys_last_word() -> None:
    assert last_words(["0.00.1 E srv    send_error: task id = 4, error: request exceeds the context"]) == ""
    assert last_words(["terminate called after throwing", "  what():  vector"]) == "what():  vector"


def test_exit_codes_in_words() -> None:
    assert describe_exit(-9) == "its process was ended by signal 9 (out of memory?)"
    assert describe_exit(-6) == "its process was ended by signal 6"
    assert describe_exit(1) == "its process ended with code 1"
