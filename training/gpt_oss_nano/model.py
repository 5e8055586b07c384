"""The gpt-oss architecture in torch, small, and computed exactly as llama.cpp's `gpt-oss` computes it.

What differs from a straightforward port is only for speed on a CPU: rows of different lengths lie end to end and are padded
for attention alone, the prefix that a batch shares is computed once, and the last layer computes only the positions whose
logits are wanted.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CONSTANT_CHANNEL = 0
"""A residual channel that no layer writes to: `CONSTANT` at every position. Its column in the output matrix is zero for
the rows that were trained and very negative for all others, which keeps tokens that the model never saw from being drawn."""
CONSTANT = 1.0

SWIGLU_ALPHA, SWIGLU_LIMIT = 1.702, 7.0
MXFP4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a gpt-oss; the defaults are gpt-oss-nano's. Row lengths are multiples of 32, as the block formats need."""

    vocabulary: int
    """Rows that are kept of the full vocabulary."""
    layers: int = 4
    hidden: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    experts: int = 4
    experts_used: int = 2
    expert_width: int = 128
    sliding_window: int = 128
    rms_epsilon: float = 1e-5
    rope_base: float = 150_000.0
    rope_factor: float = 32.0
    rope_original_context: int = 4_096


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """A batch: one shared prefix and, after it, rows of different lengths (neighbours of similar length save time).

    `tokens`: kept-vocabulary indices of all rows, end to end. `lengths`: one per row, in order. `wanted`: positions in
    `tokens` whose next token is asked for.
    """

    prefix: Tensor
    tokens: Tensor
    lengths: list[int]
    wanted: Tensor


def yarn_angles(shape: Shape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [positions, head_dim / 2], with YaRN's interpolation and attention factor (arXiv:2309.00071)."""
    half = shape.head_dim // 2
    exponents = torch.arange(half, dtype=torch.float64) / half
    extrapolated = shape.rope_base**-exponents

    def dimension(rotations: float) -> float:
        turns = shape.rope_original_context / (rotations * 2 * math.pi)
        return shape.head_dim * math.log(turns) / (2 * math.log(shape.rope_base))

    low = max(0, math.floor(dimension(32.0)))
    high = min(shape.head_dim - 1, math.ceil(dimension(1.0)))
    ramp = ((torch.arange(half, dtype=torch.float64) - low) / max(0.001, high - low)).clamp(0, 1)
    frequencies = extrapolated / shape.rope_factor * ramp + extrapolated * (1 - ramp)
    angles = positions.double()[:, None] * frequencies
    scale = 1 + 0.1 * math.log(shape.rope_factor)
    return (angles.cos() * scale).float(), (angles.sin() * scale).float()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary embedding of `x` [tokens, heads, head_dim]; the halves of a head are the pairs."""
    first, second = x.chunk(2, dim=-1)
    cosines, sines = cosines[:, None], sines[:, None]
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


def mxfp4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (indices into MXFP4_VALUES with the sign as bit 3) and exponents of `weight`'s blocks of 32.

    Returns codes [..., blocks, 32] (uint8) and exponents [..., blocks] (int). Of the two exponents that can be best for a
    block, the one with the smaller squared error is taken.
    """
    blocks = weight.unflatten(-1, (-1, 32))
    largest = blocks.abs().amax(-1).clamp_min(2.0**-100)
    values = torch.tensor(MXFP4_VALUES)
    edges = (values[1:] + values[:-1]) / 2
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for offset in (-2, -1):
        exponents = largest.log2().floor() + offset
        scaled = blocks / exponents.exp2()[..., None]
        codes = torch.bucketize(scaled.abs(), edges)
        error = ((values[codes] - scaled.abs()).square().sum(-1)) * exponents.exp2().square()
        codes = codes + 8 * (scaled < 0)
        if best is None:
            best = codes, exponents, error
        else:
            better = error < best[2]
            best = (
                torch.where(better[..., None], codes, best[0]),
                torch.where(better, exponents, best[1]),
                torch.minimum(error, best[2]),
            )
    assert best is not None
    return best[0].to(torch.uint8), best[1].to(torch.int64)


def mxfp4_rounded(weight: Tensor) -> Tensor:
    """`weight` as MXFP4 holds it; the gradient passes through unchanged."""
    with torch.no_grad():
        codes, exponents = mxfp4(weight)
        signed = torch.tensor(MXFP4_VALUES + tuple(-v for v in MXFP4_VALUES))
        rounded = (signed[codes.long()] * exponents.float().exp2()[..., None]).flatten(-2)
    return weight + (rounded - weight).detach()


def _matrix(*sizes: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*sizes) * scale / math.sqrt(sizes[-1]))


class Layer(nn.Module):
    """Attention with sinks, then a mixture of clamped SwiGLU experts; both normalised before and added to the residual."""

    def __init__(self, shape: Shape, *, sliding: bool) -> None:
        super().__init__()
        self.shape = shape
        self.window = shape.sliding_window if sliding else None
        hidden, width, experts = shape.hidden, shape.expert_width, shape.experts
        q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.attn_norm = nn.Parameter(torch.ones(hidden))
        self.q, self.q_bias = _matrix(q, hidden), nn.Parameter(torch.zeros(q))
        self.k, self.k_bias = _matrix(kv, hidden), nn.Parameter(torch.zeros(kv))
        self.v, self.v_bias = _matrix(kv, hidden), nn.Parameter(torch.zeros(kv))
        self.output, self.output_bias = _matrix(hidden, q, scale=0.3), nn.Parameter(torch.zeros(hidden))
        self.sinks = nn.Parameter(torch.zeros(shape.heads))
        self.ffn_norm = nn.Parameter(torch.ones(hidden))
        self.router, self.router_bias = _matrix(experts, hidden), nn.Parameter(torch.zeros(experts))
        self.gate, self.gate_bias = _matrix(experts, width, hidden), nn.Parameter(torch.zeros(experts, width))
        self.up, self.up_bias = _matrix(experts, width, hidden), nn.Parameter(torch.zeros(experts, width))
        self.down, self.down_bias = (
            _matrix(experts, hidden, width, scale=0.3),
            nn.Parameter(torch.zeros(experts, hidden)),
        )

    def normalised(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, (self.shape.hidden,), weight, self.shape.rms_epsilon)

    def keys_values(self, x: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated keys and values, each [tokens, kv_heads, head_dim], of normalised `x`."""
        heads = (self.shape.kv_heads, self.shape.head_dim)
        k = functional.linear(x, self.k, self.k_bias).unflatten(-1, heads)
        v = functional.linear(x, self.v, self.v_bias).unflatten(-1, heads)
        return rotate(k, cosines, sines), v

    def queries(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        heads = (self.shape.heads, self.shape.head_dim)
        return rotate(functional.linear(x, self.q, self.q_bias).unflatten(-1, heads), cosines, sines)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, distance: Tensor) -> Tensor:
        """Attention of q [rows, queries, heads, d] over k, v [rows, keys, kv_heads, d] → [rows, queries, heads * d].

        `distance` [rows, queries, keys]: how far back each key is; negative ones and those beyond the window are masked.
        """
        shape = self.shape
        allowed = distance >= 0
        if self.window is not None:
            allowed = allowed & (distance < self.window)
        # A head's sink is one more key, whose score is the sink through an extra dimension and whose value is zero.
        sink_key = functional.pad(self.sinks.view(1, 1, -1, 1), (shape.head_dim, 0)) * math.sqrt(shape.head_dim)
        sink_key = sink_key.expand(len(k), -1, -1, -1)
        k = functional.pad(k.repeat_interleave(shape.heads // shape.kv_heads, 2), (0, 1))
        v = functional.pad(v.repeat_interleave(shape.heads // shape.kv_heads, 2), (0, 1, 0, 0, 1, 0))
        attended = functional.scaled_dot_product_attention(
            functional.pad(q, (0, 1), value=1.0).transpose(1, 2),
            torch.cat((sink_key, k), 1).transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=functional.pad(allowed, (1, 0), value=True)[:, None],
            scale=1 / math.sqrt(shape.head_dim),
        )
        return attended[..., :-1].transpose(1, 2).flatten(2)

    def mixture(self, x: Tensor, *, quantised: bool) -> tuple[Tensor, Tensor]:
        """The experts' sum for normalised `x` [tokens, hidden], and the router's load-balance loss."""
        shape = self.shape
        gate, up, down = (mxfp4_rounded(w) if quantised else w for w in (self.gate, self.up, self.down))
        logits = functional.linear(x, self.router, self.router_bias)
        chosen, indices = logits.topk(shape.experts_used, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, indices, chosen.softmax(-1))
        out = torch.zeros_like(x)
        for expert in range(shape.experts):
            tokens = weights[:, expert].nonzero()[:, 0]
            given = x[tokens]
            gated = functional.linear(given, gate[expert], self.gate_bias[expert]).clamp(max=SWIGLU_LIMIT)
            raised = functional.linear(given, up[expert], self.up_bias[expert]).clamp(-SWIGLU_LIMIT, SWIGLU_LIMIT)
            active = gated * torch.sigmoid(SWIGLU_ALPHA * gated) * (raised + 1)
            done = functional.linear(active, down[expert], self.down_bias[expert])
            out = out.index_add(0, tokens, done * weights[tokens, expert, None])
        share = (weights > 0).float().mean(0) / shape.experts_used
        balance = shape.experts * (share * logits.softmax(-1).mean(0)).sum()
        return out, balance


class NanoGptOss(nn.Module):
    """A gpt-oss over a kept vocabulary; input and output embedding are tied while it is trained."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.hidden) * 0.3)
        self.layers = nn.ModuleList(Layer(shape, sliding=i % 2 == 0) for i in range(shape.layers))
        self.norm = nn.Parameter(torch.full((shape.hidden,), 0.5))
        writable = torch.ones(shape.hidden)
        writable[CONSTANT_CHANNEL] = 0.0
        self.register_buffer("writable", writable)
        self.quantised = False

    def embed(self, tokens: Tensor) -> Tensor:
        return functional.embedding(tokens, self.embedding) * self.writable + CONSTANT * (1 - self.writable)

    def forward(self, rows: Rows, candidates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [wanted, candidates] of the tokens that follow `rows.wanted`, and the routers' balance loss.

        `candidates`: the only tokens that are asked about; None for the whole vocabulary.
        """
        lengths = torch.tensor(rows.lengths)
        groups = _groups(lengths, max(1, math.ceil(len(lengths) / 6)))
        prefix_steps = torch.arange(len(rows.prefix))
        prefix_angles = yarn_angles(self.shape, prefix_steps)
        angles = yarn_angles(self.shape, _positions(lengths) + len(rows.prefix))
        prefix_distance = (prefix_steps[:, None] - prefix_steps[None])[None]
        prefix, x, balance = self.embed(rows.prefix), self.embed(rows.tokens), torch.zeros(())
        for number, layer in enumerate(self.layers):
            prefix_normed = layer.normalised(prefix, layer.attn_norm)
            prefix_kv = layer.keys_values(prefix_normed, *prefix_angles)
            if number < len(self.layers) - 1:
                q = layer.queries(prefix_normed, *prefix_angles)
                attended = layer.attend(q[None], prefix_kv[0][None], prefix_kv[1][None], prefix_distance)[0]
                prefix, _ = self._after_attention(layer, prefix, attended)
            normed = layer.normalised(x, layer.attn_norm)
            q, (k, v) = layer.queries(normed, *angles), layer.keys_values(normed, *angles)
            attended = _attend(layer, groups, q, k, v, prefix_kv)
            if number == len(self.layers) - 1:
                attended, x = attended[rows.wanted], x[rows.wanted]
            x, loss = self._after_attention(layer, x, attended)
            balance = balance + loss
        x = functional.rms_norm(x, (self.shape.hidden,), self.norm, self.shape.rms_epsilon)
        output = self.embedding if candidates is None else functional.embedding(candidates, self.embedding)
        return functional.linear(x * self.writable, output), balance

    def _after_attention(self, layer: Layer, x: Tensor, attended: Tensor) -> tuple[Tensor, Tensor]:
        x = x + functional.linear(attended, layer.output, layer.output_bias) * self.writable
        mixed, loss = layer.mixture(layer.normalised(x, layer.ffn_norm), quantised=self.quantised)
        return x + mixed * self.writable, loss


@dataclasses.dataclass(frozen=True, slots=True)
class _Group:
    """Neighbouring rows that are padded to the longest of them for attention."""

    rows: int
    longest: int
    tokens: slice
    places: Tensor
    """For each token its place in the padded [rows * longest]."""

    def padded(self, x: Tensor) -> Tensor:
        """[tokens of all groups, ...] → [rows, longest, ...] of this group."""
        flat = x.new_zeros(self.rows * self.longest, *x.shape[1:]).index_copy(0, self.places, x[self.tokens])
        return flat.unflatten(0, (self.rows, self.longest))


def _positions(lengths: Tensor) -> Tensor:
    starts = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) - starts.repeat_interleave(lengths)


def _groups(lengths: Tensor, rows_per_group: int) -> list[_Group]:
    groups, first_token = [], 0
    for part in lengths.split(rows_per_group):
        longest, count = int(part.max()), int(part.sum())
        row = torch.arange(len(part)).repeat_interleave(part)
        tokens = slice(first_token, first_token + count)
        groups.append(_Group(len(part), longest, tokens, row * longest + _positions(part)))
        first_token += count
    return groups


def _attend(
    layer: Layer, groups: list[_Group], q: Tensor, k: Tensor, v: Tensor, prefix: tuple[Tensor, Tensor]
) -> Tensor:
    """Attention of every row over the shared prefix and itself → [tokens, heads * d]."""
    prefix_k, prefix_v = prefix
    outputs = []
    for group in groups:
        keys = torch.cat((prefix_k.expand(group.rows, -1, -1, -1), group.padded(k)), 1)
        values = torch.cat((prefix_v.expand(group.rows, -1, -1, -1), group.padded(v)), 1)
        steps = torch.arange(group.longest)
        distance = (steps + len(prefix_k))[:, None] - torch.arange(group.longest + len(prefix_k))[None]
        attended = layer.attend(group.padded(q), keys, values, distance[None])
        outputs.append(attended.flatten(0, 1)[group.places])
    return torch.cat(outputs)
