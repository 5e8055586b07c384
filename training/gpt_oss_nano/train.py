"""Train gpt-oss-nano from nothing. Seeded; stops and goes on at checkpoints.

    python train.py OUT_FOLDER                          from random weights
    python train.py OUT_FOLDER --steps 300              a trial
    python train.py OUT_FOLDER --after EARLIER_FOLDER   on from another run's weights, with new dialogues and a lower rate

Needs the `train` extra. OUT_FOLDER gets corpus.npz, checkpoint.pt and, at the end, weights.npz for export.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import corpus as corpora
import numpy as np
import spelling
import torch
from corpus import EFFORTS, Corpus
from curriculum import Exercises, Row
from induction import place_copying
from model import NanoGptOss, Rows, Shape
from optimizer import Optimizer
from torch.nn import functional

_WARMUP_STEPS = 60
_LATER_RATE = 0.375
"""Of the first run's rate: what a run that goes on from its weights begins with."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run goes. README.md says with which the published weights were made."""

    seed: int = 1
    steps: int = 7_000
    quantised_steps: int = 500
    """The last of them, with the experts rounded to MXFP4 as they will be stored."""
    batch: int = 32
    rate: float = 4e-3
    quantised_rate: float = 3e-4
    """Rounding makes the loss jump at a higher rate."""
    exercises: int = 4
    """Rows of a batch that are exercises, in the first half …"""
    exercises_later: int = 1
    """… and after it."""
    unknown_rows: float = 0.25
    """Share of dialogues in which words that the answer does not need become UNK."""
    balance_weight: float = 0.01
    negatives: int = 1_024
    """Random tokens that stand for all that are not in the batch: the whole vocabulary would cost a third of the time."""
    checkpoint_every: int = 500

    def rate_at(self, step: int) -> float:
        """Linear warm-up, linear decay."""
        main = self.steps - self.quantised_steps
        if step < main:
            decayed = self.rate + (self.quantised_rate - self.rate) * step / main
            return decayed * min(1.0, (step + 1) / _WARMUP_STEPS)
        return self.quantised_rate * (1 - (step - main) / max(1, self.quantised_steps)) + 1e-6

    def exercises_at(self, step: int) -> int:
        return self.exercises if step < self.steps // 2 else self.exercises_later

    def dialogues(self) -> int:
        """How many are needed when none is seen twice."""
        return sum(self.batch - self.exercises_at(step) for step in range(self.steps))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows, and what should follow their wanted positions."""

    rows: Rows
    candidates: torch.Tensor
    """All tokens of the batch, then random others."""
    offsets: torch.Tensor
    """Log of how many tokens each candidate stands for."""
    targets: torch.Tensor
    """Indices into `candidates`, one per wanted position."""


class Batches:
    """Draws batches of one effort and one day; a batch is a function of the seed and the step."""

    def __init__(self, plan: Plan, corpus: Corpus) -> None:
        self._plan = plan
        self._corpus = corpus
        rng = np.random.default_rng(plan.seed)
        self._rows = [rng.permutation(np.flatnonzero(corpus.efforts == number)) for number in range(len(EFFORTS))]
        shares = np.array([len(rows) for rows in self._rows]) / len(corpus)
        self._effort_of = rng.choice(len(EFFORTS), size=plan.steps, p=shares)
        used = np.array([plan.batch - plan.exercises_at(step) for step in range(plan.steps)])
        self._first = np.zeros(plan.steps, np.int64)
        for number in range(len(EFFORTS)):
            of_effort = np.flatnonzero(self._effort_of == number)
            self._first[of_effort] = np.cumsum(used[of_effort]) - used[of_effort]
        self._separator = int(np.searchsorted(corpus.kept, corpora.SEPARATOR))

    def at(self, step: int, parts: int) -> list[Batch]:
        """The batch of a step, in parts of equal size."""
        plan, corpus = self._plan, self._corpus
        rng = np.random.default_rng((plan.seed, step))
        exercises = Exercises(rng, vocabulary=len(corpus.kept), separator=self._separator)
        drawn = [exercises.row() for _ in range(plan.exercises_at(step))]
        effort = int(self._effort_of[step])
        first, pool = int(self._first[step]), self._rows[effort]
        numbers = [int(pool[(first + place) % len(pool)]) for place in range(plan.batch - len(drawn))]
        drawn += [self._dialogue(number, rng) for number in numbers]
        drawn.sort(key=lambda row: len(row[0]))
        day = datetime.date(2024, 6, 1) + datetime.timedelta(days=int(rng.integers(0, 12 * 365)))
        prefix = corpora.indices(corpus.kept, corpora.prefix_ids(EFFORTS[effort], day))
        return [self._batch(prefix, drawn[part::parts], rng) for part in range(parts)]

    def _batch(self, prefix: np.ndarray, drawn: Sequence[Row], rng: np.random.Generator) -> Batch:
        plan, corpus = self._plan, self._corpus
        starts = np.cumsum([0, *(len(tokens) for tokens, _ in drawn)])
        every = np.concatenate([tokens for tokens, _ in drawn])
        wanted = np.concatenate([places + start for (_, places), start in zip(drawn, starts, strict=False)])
        lengths = [len(tokens) for tokens, _ in drawn]
        present = np.union1d(prefix, every)
        negatives = np.setdiff1d(rng.integers(0, len(corpus.kept) + 1, plan.negatives, dtype=np.int32), present)
        candidates = np.concatenate([present, negatives])
        offsets = np.zeros(len(candidates), np.float32)
        offsets[len(present) :] = math.log((len(corpus.kept) + 1 - len(present)) / len(negatives))
        return Batch(
            rows=Rows(_tensor(prefix), _tensor(every), lengths, _tensor(wanted)),
            candidates=_tensor(candidates),
            offsets=torch.from_numpy(offsets),
            targets=_tensor(np.searchsorted(present, every[wanted + 1])),
        )

    def _dialogue(self, number: int, rng: np.random.Generator) -> Row:
        corpus = self._corpus
        row = corpus.row(number)
        tokens = corpus.tokens[row]
        turn, unscored = int(corpus.turn_lengths[number]), int(corpus.unscored[number])
        places = np.arange(len(tokens) - turn - 1 + unscored, len(tokens) - 1)
        replaceable = np.flatnonzero(corpus.content[row])
        if len(replaceable) and rng.random() < self._plan.unknown_rows:
            tokens = tokens.copy()
            tokens[rng.permutation(replaceable)[: int(rng.integers(1, 4))]] = corpus.unknown
        return tokens, places


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).long()


class Run:
    """A model on its way through a plan."""

    def __init__(self, plan: Plan, corpus: Corpus, folder: Path, threads: int, after: Path | None = None) -> None:
        """`threads`: each computes its part of every batch. `after`: the folder of a run whose weights are the first."""
        self._plan = plan
        self._folder = folder
        self._threads = ThreadPoolExecutor(threads)
        self._parts = threads
        torch.manual_seed(plan.seed)
        self.model = NanoGptOss(Shape(vocabulary=len(corpus.kept) + 1))
        with torch.no_grad():
            self.model.embedding[:-1] = spelling.alike(corpus.kept.tolist(), self.model.shape.hidden)
        place_copying(self.model)
        if after is not None:
            with np.load(after / "weights.npz") as stored:
                weights = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "kept_ids"}
            self.model.load_state_dict(weights, strict=False)  # all but the constant `writable`
        self._optimizer = Optimizer(self.model)
        self._batches = Batches(plan, corpus)
        self._kept = corpus.kept
        self._step = 0
        self._resume()

    def train(self) -> None:
        """To the end of the plan."""
        plan, losses, began, first = self._plan, [], time.monotonic(), self._step
        while self._step < plan.steps:
            self.model.quantised = self._step >= plan.steps - plan.quantised_steps
            losses.append(self._learn(self._batches.at(self._step, self._parts)))
            self._optimizer.step(plan.rate_at(self._step))
            self._step += 1
            if self._step % 50 == 0:
                per_step = (time.monotonic() - began) / (self._step - first)
                print(f"step {self._step} loss {np.mean(losses):.4f} {per_step:.3f} s/step", flush=True)
                losses = []
            if self._step % plan.checkpoint_every == 0:
                self._keep()
        self._save_weights()

    def _learn(self, batches: Sequence[Batch]) -> float:
        """Set the gradients; the mean loss of a token."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        tokens = sum(len(batch.targets) for batch in batches)

        def gradients(batch: Batch) -> tuple[float, Sequence[torch.Tensor]]:
            logits, balance = self.model(batch.rows, batch.candidates)
            loss = functional.cross_entropy(logits + batch.offsets, batch.targets, reduction="sum") / tokens
            balanced = loss + self._plan.balance_weight * balance / len(batches)
            return loss.item(), torch.autograd.grad(balanced, parameters)

        done = list(self._threads.map(gradients, batches))
        for parameter, *parts in zip(parameters, *(gradient for _, gradient in done), strict=True):
            parameter.grad = functools.reduce(torch.Tensor.add_, parts)
        return sum(loss for loss, _ in done)

    def _keep(self) -> None:
        """Write the checkpoint, wholly or not at all."""
        state = {
            "plan": dataclasses.asdict(self._plan),
            "step": self._step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state(),
        }
        draft = self._folder / "checkpoint.pt.new"
        torch.save(state, draft)
        draft.replace(self._folder / "checkpoint.pt")
        self._save_weights()

    def _resume(self) -> None:
        path = self._folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["plan"] != dataclasses.asdict(self._plan):
            raise SystemExit(f"{path} is of another plan. Use another folder, or delete it.")
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state(state["optimizer"])
        self._step = state["step"]
        print(f"going on from step {self._step}", flush=True)

    def _save_weights(self) -> None:
        tensors = {name: value.numpy() for name, value in self.model.state_dict().items() if name != "writable"}
        np.savez(self._folder / "weights.npz", kept_ids=self._kept, **tensors)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the corpus, the checkpoint and the weights")
    parser.add_argument("--steps", type=int, default=Plan().steps)
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument("--after", type=Path, help="the folder of a run to go on from")
    parser.add_argument(
        "--threads", type=int, default=min(8, os.cpu_count() or 1), help="a batch is divided among them"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # many small matrices: threads that share one wait for each other
    arguments.out.mkdir(parents=True, exist_ok=True)
    quantised = min(Plan().quantised_steps, math.ceil(arguments.steps / 10))
    rate = Plan().rate if arguments.after is None else Plan().rate * _LATER_RATE
    plan = Plan(seed=arguments.seed, steps=arguments.steps, quantised_steps=quantised, rate=rate)
    path = arguments.out / "corpus.npz"
    if not path.exists():
        began = time.monotonic()
        kept = None if arguments.after is None else Corpus.load(arguments.after / "corpus.npz").kept
        corpora.build(plan.seed, plan.dialogues(), workers=2, kept=kept).save(path)
        print(f"{plan.dialogues()} dialogues in {time.monotonic() - began:.0f} s", flush=True)
    corpus = Corpus.load(path)
    print(f"{len(corpus)} dialogues, {len(corpus.kept)} rows of the vocabulary", flush=True)
    Run(plan, corpus, arguments.out, arguments.threads, arguments.after).train()


if __name__ == "__main__":
    main()
