"""Initial weights that copy: the circuit that a small model otherwise needs most of its training to find.

Two heads of the first layer look one and two tokens back (through their biases and the rotation's fast dimensions) and note what they saw.
Heads of the layers with full attention compare their own token, or the one before it, with those notes (in the slow dimensions, which a
few hundred tokens hardly turn) and fetch what they find: after `A B … A` comes `B` (Olsson et al. 2022), after `A , B … A ,` likewise.
Training goes on from there like from any other initialisation.
"""

from __future__ import annotations

import math

import torch
from model import CONSTANT_CHANNEL, Layer, NanoGptOss, yarn_angles
from torch import Tensor

_FAST_PAIRS = 6
_SLOW_PAIRS_FROM = 7
_LOOK_BACK, _COMPARE, _FETCH = 3.5, 1.6, 1.2
"""Gains of the biases, of both sides of the comparison, and of what is fetched."""
_QUIET = 0.1
"""What is left of the random weights in the placed heads."""


@torch.no_grad()
def place_copying(model: NanoGptOss) -> None:
    """Overwrite some heads of a fresh model."""
    shape = model.shape
    half = shape.head_dim // 2
    slow = torch.cat((torch.arange(_SLOW_PAIRS_FROM, half), torch.arange(_SLOW_PAIRS_FROM + half, shape.head_dim)))
    width = len(slow)
    basis = _basis(shape.hidden)
    told, noted = basis[:width], (basis[width : 2 * width], basis[2 * width : 3 * width])
    layers = [layer for layer in model.layers if isinstance(layer, Layer)]
    _look_back(layers[0], told, noted)
    for layer in layers[1::2]:
        # After `A` comes what came after `A`; after `A ,` comes what came after `A ,`.
        _compare_and_fetch(layer, 0, asked=told, noted=noted[0], slow=slow)
        _compare_and_fetch(layer, 1, asked=noted[0], noted=noted[1], slow=slow)


def _basis(hidden: int) -> Tensor:
    """Orthonormal rows that leave the constant channel out."""
    rows, _ = torch.linalg.qr(torch.randn(hidden - 1, hidden - 1))
    left, right = rows[:, :CONSTANT_CHANNEL], rows[:, CONSTANT_CHANNEL:]
    return torch.cat((left, torch.zeros(hidden - 1, 1), right), dim=1)


def _look_back(layer: Layer, told: Tensor, noted: tuple[Tensor, ...]) -> None:
    size = layer.shape.head_dim
    half = size // 2
    cosines, sines = yarn_angles(layer.shape, torch.arange(len(noted) + 1))
    scale = 1 + 0.1 * math.log(layer.shape.rope_factor)
    gain = torch.zeros(half)
    gain[:_FAST_PAIRS] = _LOOK_BACK
    layer.k[:size] *= _QUIET
    layer.k_bias[:half] = gain
    layer.v[:size] = 0
    layer.v[: len(told)] = told
    for head, note in enumerate(noted):
        place = slice(head * size, (head + 1) * size)
        back = head + 1
        layer.q[place] *= _QUIET
        # Queries that are turned back by `back` tokens meet the key that is `back` tokens behind.
        layer.q_bias[place] = torch.cat((gain * cosines[back], -gain * sines[back])) / scale
        layer.output[:, place] = 0
        layer.output[:, head * size : head * size + len(note)] = note.mT


def _compare_and_fetch(layer: Layer, kv_head: int, *, asked: Tensor, noted: Tensor, slow: Tensor) -> None:
    size = layer.shape.head_dim
    head = kv_head * (layer.shape.heads // layer.shape.kv_heads)
    kv_place, place = slice(kv_head * size, (kv_head + 1) * size), slice(head * size, (head + 1) * size)
    fetched = _basis(layer.shape.hidden)[:size]
    layer.k[kv_place] *= _QUIET
    layer.k[slow + kv_place.start] = noted * _COMPARE
    layer.v[kv_place] = fetched
    layer.q[place] *= _QUIET
    layer.q[slow + place.start] = asked * _COMPARE
    layer.output[:, place] = fetched.mT * _FETCH
