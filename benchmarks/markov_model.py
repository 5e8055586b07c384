"""Write a GGUF that says what it was told to: a `llama` whose next token depends on nothing but the last one.

It costs a megabyte and needs no training, and what it says is known in advance, at any temperature: a test can ask
llama.cpp, its chat templates and its parsers for a whole answer and compare it. A marker must not have a name that
llama.cpp takes for an end of turn, as `<|call|>`.

Every token has a dimension of its own: the embedding of token i is the i-th unit vector, the only layer adds nothing,
and the output matrix sends the vector of a token to its successor. Needs the `test` extra (numpy, gguf).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np

END = "<|im_end|>"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<|go|>{% endif %}"
)
_HEAD_DIM = 32
_FEED_FORWARD = 32


def write_markov_model(
    path: Path,
    says: Mapping[str, Sequence[str]],
    *,
    endless: Mapping[str, Sequence[str]] | None = None,
    template: str | None = CHATML,
    context_length: int = 4096,
) -> None:
    """Write a model to `path`.

    Args:
        path: the file to make.
        says: what comes after a marker: `{"<|go|>": ["Hello", " world"]}`. Each piece becomes a token, so that
            none may occur twice or be a single byte. The last is followed by the end of the turn.
        endless: the same, but the first piece follows the last.
        template: the Jinja chat template that the file carries; its generation prompt ends with a marker.
        context_length: what the file says of itself.
    """
    repeated = endless or {}
    everything = {**says, **repeated}
    bytes_as_text = sorted(set(byte_letters()))
    control = ["<|im_start|>", END, *everything]
    pieces = [piece for said in everything.values() for piece in said]
    tokens = [*bytes_as_text, *control, *(_spelt(piece) for piece in pieces)]
    if len(set(tokens)) != len(tokens):
        raise ValueError("A piece occurs twice, or is a single byte.")
    kinds = [gguf.TokenType.NORMAL] * len(bytes_as_text) + [gguf.TokenType.CONTROL] * len(control)
    kinds += [gguf.TokenType.NORMAL] * len(pieces)
    ids = {token: index for index, token in enumerate(tokens)}
    successors = {
        ids[before]: ids[after]
        for marker, said in everything.items()
        for before, after in zip(
            [marker, *map(_spelt, said)],
            [*map(_spelt, said), _spelt(said[0]) if marker in repeated else END],
            strict=True,
        )
    }
    width = -(-len(tokens) // _HEAD_DIM) * _HEAD_DIM
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("markov")
    writer.add_block_count(1)
    writer.add_context_length(context_length)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(width // _HEAD_DIM)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_HEAD_DIM)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["! !"])  # llama.cpp wants at least one; text becomes bytes all the same
    writer.add_bos_token_id(ids["<|im_start|>"])
    writer.add_eos_token_id(ids[END])
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
    for name, tensor in _tensors(len(tokens), width, successors).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(vocabulary: int, width: int, successors: Mapping[int, int]) -> dict[str, np.ndarray]:
    embedding = np.zeros((vocabulary, width), np.float16)
    embedding[np.arange(vocabulary), np.arange(vocabulary)] = 1.0
    output = np.zeros((vocabulary, width), np.float16)
    for before, after in successors.items():
        output[after, before] = 4.0  # times √width: far above the zeros of all others
    nothing = {
        "attn_q": (width, width),
        "attn_k": (_HEAD_DIM, width),
        "attn_v": (_HEAD_DIM, width),
        "attn_output": (width, width),
        "ffn_gate": (_FEED_FORWARD, width),
        "ffn_up": (_FEED_FORWARD, width),
        "ffn_down": (width, _FEED_FORWARD),
    }
    ones = np.ones(width, np.float32)
    return {
        "token_embd.weight": embedding,
        "output.weight": output,
        "output_norm.weight": ones,
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        **{f"blk.0.{name}.weight": np.zeros(shape, np.float16) for name, shape in nothing.items()},
    }


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level BPE vocabulary (GPT-2's scheme)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def _spelt(text: str) -> str:
    letters = byte_letters()
    return "".join(letters[byte] for byte in text.encode())
