"""Muon for the matrices, AdamW for the rest, under one learning rate."""

from __future__ import annotations

import itertools
import math

import torch
from model import NanoGptOss
from torch import Tensor, nn

_MOMENTUM = 0.95
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic that brings singular values near one in five rounds (Jordan et al. 2024)."""


def orthogonalised(matrices: Tensor) -> Tensor:
    """`matrices` [n, rows, columns] with their singular values brought near one."""
    a, b, c = _NEWTON_SCHULZ
    x = matrices / (matrices.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Momentum, orthogonalised; matrices of one size are stepped together."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        by_size = sorted(parameters, key=lambda p: p.shape[-2:])
        self._groups = [list(group) for _, group in itertools.groupby(by_size, key=lambda p: p.shape[-2:])]
        self.momenta = [torch.zeros_like(self._stacked(group, gradients=False)) for group in self._groups]

    @staticmethod
    def _stacked(group: list[nn.Parameter], *, gradients: bool) -> Tensor:
        parts = [p.grad if gradients else p.detach() for p in group]
        return torch.cat([part.reshape(-1, *part.shape[-2:]) for part in parts if part is not None])

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group, momentum in zip(self._groups, self.momenta, strict=True):
            gradient = self._stacked(group, gradients=True)
            momentum.lerp_(gradient, 1 - _MOMENTUM)
            update = orthogonalised(gradient.lerp(momentum, _MOMENTUM))
            # The largest singular value of the update is the rate. Three times as much needed twice the steps.
            update *= -rate * math.sqrt(max(1.0, update.shape[1] / update.shape[2]))
            first = 0
            for parameter in group:
                count = 1 if parameter.dim() == 2 else parameter.shape[0]
                parameter += update[first : first + count].reshape(parameter.shape)
                first += count


class Optimizer:
    """Both, as one."""

    def __init__(self, model: NanoGptOss) -> None:
        matrices = [p for name, p in model.named_parameters() if _is_matrix(name, p)]
        others = [p for name, p in model.named_parameters() if not _is_matrix(name, p)]
        self._muon = Muon(matrices)
        embedding = [model.embedding]
        others = [p for p in others if p is not model.embedding]
        # Most tokens are in few batches: a longer memory of how large their gradients are.
        groups = [{"params": others}, {"params": embedding, "betas": (0.9, 0.98)}]
        self._adam = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        self._parameters = [*matrices, *others, *embedding]

    def step(self, rate: float) -> None:
        """Follow the gradients, clipped to norm 1, and clear them."""
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._muon.step(rate)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, object]:
        return {"muon": self._muon.momenta, "adam": self._adam.state_dict()}

    def load_state(self, state: dict[str, object]) -> None:
        momenta, adam = state["muon"], state["adam"]
        assert isinstance(momenta, list)
        assert isinstance(adam, dict)
        self._muon.momenta = momenta
        self._adam.load_state_dict(adam)


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Weights of attention and experts. The router and the embeddings are AdamW's, and so are the experts' biases."""
    return parameter.dim() >= 2 and name.rpartition(".")[2] in {"q", "k", "v", "output", "gate", "up", "down"}
