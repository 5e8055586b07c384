"""What is read from a whole file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tundish.catalog import gguf
from tundish.catalog.gguf.facts import LayerFacts
from tundish.core.errors import ModelFileInvalid


def test_a_gpt_oss(gpt_oss, write) -> None:
    path = write(gpt_oss)
    facts = gguf.read(path)
    assert facts.is_gpt_oss
    assert not facts.is_embedding_model
    assert not facts.has_chat_template
    assert (facts.architecture, facts.name, facts.quantisation) == ("gpt-oss", "tiny", "mxfp4")
    assert (facts.context_length, facts.block_count, facts.embedding_length) == (4096, 2, 32)
    assert (facts.head_count, facts.kv_head_count, facts.key_length, facts.value_length) == (2, 1, 32, 32)
    assert (facts.expert_count, facts.expert_used_count, facts.expert_feed_forward_length) == (8, 2, 32)
    assert facts.layers == (LayerFacts(kv_heads=1, window=128), LayerFacts(kv_heads=1, window=None))
    assert (facts.sliding_window, facts.windowed_layers) == (128, 1)
    assert facts.vocabulary_size == 265
    assert facts.file_bytes == path.stat().st_size
    assert facts.path == path


def test_weights_are_counted_by_kind(gpt_oss, write) -> None:
    facts = gguf.read(write(gpt_oss))
    sizes = facts.tensor_bytes
    matrices, biases = 3 * 32 * 32 * 8 * 17 // 32, 3 * 32 * 8 * 4
    assert sizes.experts == 2 * (matrices + biases)
    assert sizes.embedding == 32 * 265 * 4
    assert sizes.total == sum(tensor.size_bytes for tensor in gpt_oss.tensors)
    assert facts.repackable_bytes["mxfp4"] == 2 * matrices
    assert 0 < facts.active_parameters < facts.parameters


def test_a_llama(llama, write) -> None:
    facts = gguf.read(write(llama))
    assert not facts.is_gpt_oss
    assert facts.has_chat_template
    assert (facts.name, facts.quantisation) == ("model", "f32")
    assert (facts.key_length, facts.value_length, facts.kv_head_count) == (16, 16, 1)
    assert facts.sliding_window is None
    assert facts.expert_count == 0
    # The embeddings are the output matrix as well, so all of the model works for each token.
    assert facts.active_parameters == facts.parameters


def test_a_stated_label_is_used_when_it_fits_the_weights(llama, write) -> None:
    llama.set("general.file_type", 15)
    for tensor in llama.tensors:
        if tensor.name.startswith("blk.") and len(tensor.dims) > 1:
            tensor.kind = 8
    assert gguf.read(write(llama)).quantisation == "q8_0"
    llama.set("general.file_type", 7)
    assert gguf.read(write(llama)).quantisation == "q8_0"


def test_each_layer_may_have_its_own_heads(llama, write) -> None:
    llama.called("lfm2").set_array("lfm2.attention.head_count_kv", "u32", [1, 0])
    assert [layer.kv_heads for layer in gguf.read(write(llama)).layers] == [1, 0]


def test_of_some_hybrids_every_nth_layer_has_attention(llama, write) -> None:
    llama.called("qwen3next").set("qwen3next.full_attention_interval", 2)
    assert [layer.kv_heads for layer in gguf.read(write(llama)).layers] == [0, 1]


def test_a_window_without_a_pattern_is_counted_as_none(llama, write) -> None:
    """A Mistral: llama.cpp gives its layers whole caches."""
    llama.set("llama.attention.sliding_window", 128)
    assert gguf.read(write(llama)).windowed_layers == 0


def test_a_pattern_in_the_file_tells_which_layers_have_a_window(llama, write) -> None:
    llama.set("llama.attention.sliding_window", 128)
    llama.set_array("llama.attention.sliding_window_pattern", "bool", [True, False])
    assert [layer.window for layer in gguf.read(write(llama)).layers] == [128, None]


def test_a_model_that_makes_embeddings(llama, write) -> None:
    assert gguf.read(write(llama.set("llama.pooling_type", 1))).is_embedding_model


def test_recurrent_layers_have_a_state(llama, write) -> None:
    llama.set("llama.ssm.inner_size", 64).set("llama.ssm.state_size", 16).set("llama.ssm.conv_kernel", 4)
    assert gguf.read(write(llama)).recurrent_state_bytes == 4 * 2 * (64 * 16 + 3 * 64)


def test_fused_matrices_are_known(gpt_oss, write) -> None:
    for layer in range(2):
        block = f"blk.{layer}."
        gpt_oss.without(block + "attn_q.weight").without(block + "attn_k.weight")
        gpt_oss.with_tensor(block + "attn_v.weight", name=block + "attn_qkv.weight", dims=(32, 128))
        gpt_oss.without(block + "ffn_gate_exps.weight").without(block + "ffn_gate_exps.bias")
        gpt_oss.with_tensor(block + "ffn_up_exps.weight", name=block + "ffn_gate_up_exps.weight", dims=(32, 64, 8))
        gpt_oss.without(block + "ffn_up_exps.bias")
    assert gguf.read(write(gpt_oss)).is_gpt_oss


def test_text_that_is_not_utf_8_is_read(gpt_oss, write) -> None:
    gpt_oss.set("general.name", b"caf\xe9")
    assert gguf.read(write(gpt_oss)).name == "caf\ufffd"


def test_a_vocabulary_longer_than_the_window_is_read(gpt_oss, write) -> None:
    tokens = [*gpt_oss.values("tokenizer.ggml.tokens"), *(f"<word {index:08}>" for index in range(40_000))]
    gpt_oss.set_array("tokenizer.ggml.tokens", "string", tokens)
    gpt_oss.set_array("tokenizer.ggml.token_type", "i32", [1] * len(tokens))
    gpt_oss.set_array("tokenizer.ggml.merges", "string", (f"{'a' * 300} b{index}" for index in range(3_000)))
    for name in ("token_embd.weight", "output.weight"):
        gpt_oss.with_tensor(name, dims=(32, len(tokens)))
    assert gguf.read(write(gpt_oss)).vocabulary_size == len(tokens)
    # … and the same, when the last of them is the first again
    gpt_oss.set_array("tokenizer.ggml.tokens", "string", (*tokens[:-1], tokens[0]))
    with pytest.raises(ModelFileInvalid, match="twice"):
        gguf.read(write(gpt_oss))


# --- split files ---


def _split(file, folder: Path, *, name: str = "big", parts: int = 3, **lies: object) -> Path:
    """`file` in parts as llama-gguf-split makes them."""
    tensors, metadata = file.tensors, file.metadata
    each = -(-len(tensors) // parts)
    for part in range(parts):
        file.tensors = tensors[part * each : (part + 1) * each]
        file.metadata = list(metadata) if part == 0 else []
        file.set("split.no", lies.get(f"no_{part}", part), "u16").set("split.count", parts, "u16")
        file.set("split.tensors.count", lies.get("tensors", len(tensors)), "i32")
        (folder / f"{name}-{part + 1:05}-of-{parts:05}.gguf").write_bytes(file.encode())
    file.tensors, file.metadata = tensors, metadata
    return folder / f"{name}-00001-of-{parts:05}.gguf"


def test_a_split_model_is_read_as_one(gpt_oss, tmp_path: Path) -> None:
    first = _split(gpt_oss, tmp_path)
    facts = gguf.read(first)
    assert [part.name for part in facts.parts] == [f"big-0000{part}-of-00003.gguf" for part in (1, 2, 3)]
    assert facts.file_bytes == sum(part.stat().st_size for part in tmp_path.iterdir())
    assert facts.tensor_bytes.total == sum(tensor.size_bytes for tensor in gpt_oss.tensors)


def test_a_later_part_points_to_the_first(gpt_oss, tmp_path: Path) -> None:
    _split(gpt_oss, tmp_path)
    with pytest.raises(ModelFileInvalid, match=r"Give the first part: .*big-00001-of-00003\.gguf"):
        gguf.read(tmp_path / "big-00002-of-00003.gguf")


def test_a_missing_part_is_named(gpt_oss, tmp_path: Path) -> None:
    first = _split(gpt_oss, tmp_path)
    (tmp_path / "big-00003-of-00003.gguf").unlink()
    with pytest.raises(ModelFileInvalid, match=r"part 3 \(big-00003-of-00003\.gguf\)"):
        gguf.read(first)


def test_a_part_under_another_name_says_how_to_call_it(gpt_oss, tmp_path: Path) -> None:
    first = _split(gpt_oss, tmp_path)
    renamed = first.rename(tmp_path / "mine.gguf")
    with pytest.raises(ModelFileInvalid, match=r"NAME-00001-of-00003\.gguf"):
        gguf.read(renamed)


def test_a_part_of_another_model_is_refused(gpt_oss, tmp_path: Path) -> None:
    with pytest.raises(ModelFileInvalid, match="says it is part 1 of 3"):
        gguf.read(_split(gpt_oss, tmp_path, no_1=0))
    with pytest.raises(ModelFileInvalid, match="instead of 99"):
        gguf.read(_split(gpt_oss, tmp_path, tensors=99))


def test_a_split_into_thousands_is_refused(gpt_oss, write) -> None:
    with pytest.raises(ModelFileInvalid, match=r"split\.count"):
        gguf.read(write(gpt_oss.set("split.count", 60_000, "u16"), "big-00001-of-60000.gguf"))


def test_a_damaged_part_is_named(gpt_oss, tmp_path: Path) -> None:
    first = _split(gpt_oss, tmp_path)
    second = tmp_path / "big-00002-of-00003.gguf"
    second.write_bytes(second.read_bytes()[:-500])
    with pytest.raises(ModelFileInvalid, match=r"big-00002-of-00003\.gguf .* missing"):
        gguf.read(first)
