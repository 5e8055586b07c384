"""Which models an endpoint has, and what it takes to put each of them to work."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tundish.catalog import fit, gguf
from tundish.catalog.card import EmbeddedSource, WeightFormat
from tundish.catalog.fit.plan import Wishes
from tundish.catalog.gguf.facts import GgufFacts
from tundish.catalog.hardware import Hardware
from tundish.core.backend import Capabilities
from tundish.core.clock import Clock
from tundish.core.errors import TundishError
from tundish.deployments.spec import DeploymentSpec
from tundish.engines import embedded
from tundish.engines import hardware as measured
from tundish.engines.local import LocalModel
from tundish.settings import InvalidSetting, Settings
from tundish.sources.library import Library

_log = logging.getLogger("tundish.models")

FindWeights = Callable[[], Path]
"""Gives a model's GGUF; may take seconds."""


class Models:
    """Makes deployments of what the settings and the library name."""

    def __init__(self, settings: Settings, library: Library, *, clock: Clock) -> None:
        self._settings = settings
        self._library = library
        self._clock = clock
        self.wishes = Wishes(
            context_length=settings.context_length,
            slots=settings.slots,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
        )
        """What the settings say."""
        self._sha256: dict[Path, str] = {}
        """Of the weights that were found, by their (first) file."""

    def named(self) -> Mapping[str, FindWeights]:
        """The models that the settings name: name → where its weights are found.

        Raises:
            InvalidSetting: a name given twice, or a file that is not there.
            ModelNotFound, ModelNotCached, ModelDamaged: the library has no such model.
        """
        found: dict[str, FindWeights] = {}
        for given in self._settings.models:
            name, target = _named(given)
            if name in found:
                raise InvalidSetting(f"Two models are called '{name}'. Name one otherwise: --model OTHER={target}.")
            found[name] = self.find_weights(target)
        return found

    def find_weights(self, target: str) -> FindWeights:
        """What `target` (a file, or a name in the library) stands for. Raises as `named` does."""
        if is_file(target):
            path = Path(target).expanduser()
            if not path.is_file():
                raise InvalidSetting(
                    f"There is no model file {path}. Give a GGUF file, NAME=FILE.gguf, or a name that "
                    "`tundish model list` shows."
                )
            return lambda: path
        return self._find_in_library(target)

    def _find_in_library(self, name: str) -> FindWeights:
        self._library.resolve(name)  # so that a name nobody knows is told now
        return lambda: self._weights(name)

    def in_library(self) -> Mapping[str, FindWeights]:
        """The models that are on this machine and could answer: whole, with weights that llama.cpp reads."""
        models = self._library.cache.contents().models
        usable = [m for m in models if m.manifest.variant.format is WeightFormat.GGUF and not m.problems()]
        names = [model.key.name for model in usable]
        return {
            key.name if names.count(key.name) == 1 else f"{key.name}:{key.variant}": self.find_weights(str(key))
            for key in (model.key for model in usable)
        }

    def deployments(self, found: Mapping[str, FindWeights], hardware: Hardware) -> Sequence[DeploymentSpec]:
        """What it takes to have all of `found` in memory together; they stay there when they are idle.

        Each gets what the others leave, whose weights count in full. Reads files: for a thread.

        Raises:
            ModelFileInvalid: one of them must not be shown to an engine.
            DoesNotFit: together they are too large; carries the numbers.
        """
        facts = {name: gguf.read(find()) for name, find in found.items()}
        left = fit.budget_bytes(hardware.memory)
        later = sum(model.file_bytes for model in facts.values())
        specs: list[DeploymentSpec] = []
        for name, model in facts.items():
            later -= model.file_bytes
            spec = self._spec(name, found[name], model, hardware, max(0, left - later), keep_alive_s=math.inf)
            left -= spec.memory_bytes
            specs.append(spec)
        return specs

    def deployment(
        self, name: str, find: FindWeights, hardware: Hardware, wishes: Wishes | None = None
    ) -> DeploymentSpec:
        """What it takes to have one model in memory while it is used; raises as `deployments` does.

        `wishes`: the deployment's own; None is what the settings say.
        """
        budget = fit.budget_bytes(hardware.memory)
        keep_alive_s = self._settings.keep_alive_s
        return self._spec(name, find, gguf.read(find()), hardware, budget, keep_alive_s=keep_alive_s, wishes=wishes)

    def find_deployment(self, name: str) -> DeploymentSpec:
        """`deployment` of a name in the library, on this machine as it is now. Never of a file: clients call this."""
        return self.deployment(name, self._find_in_library(name), measured.snapshot())

    def on_demand(self, taken: Sequence[str], hardware: Hardware) -> Sequence[DeploymentSpec]:
        """The library's models beside those that are `taken`; one that cannot be used is named in the log."""
        specs: list[DeploymentSpec] = []
        for name, find in self.in_library().items():
            if name in taken:
                continue
            try:
                specs.append(self.deployment(name, find, hardware))
            except TundishError as error:
                _log.warning("%s is not offered: %s", name, error)
        return specs

    def _weights(self, name: str) -> Path:
        weights = self._library.resolve(name)
        if isinstance(weights, EmbeddedSource):
            path = embedded.expand(self._settings.cache_dir)
            self._sha256[path] = embedded.sha256()
            return path
        for model in self._library.cached(name):
            if model.weights == weights:
                self._sha256[weights] = model.weights_sha256
        return weights

    def _spec(
        self,
        name: str,
        find: FindWeights,
        facts: GgufFacts,
        hardware: Hardware,
        memory_bytes: int,
        *,
        keep_alive_s: float,
        wishes: Wishes | None = None,
    ) -> DeploymentSpec:
        wishes = dataclasses.replace(wishes or self.wishes, memory_bytes=memory_bytes)
        plan = fit.plan(facts, hardware, wishes)
        return DeploymentSpec(
            name=name,
            make=lambda: LocalModel(
                name=name,
                find=find,
                wishes=plan.as_wishes(),  # what was promised, or a refusal with the numbers
                queue_limit=self._settings.queue_limit,
                load_timeout_s=self._settings.load_timeout_s,
                clock=self._clock,
                prefix_folder=self._settings.prefix_folder,
                prefix_cache_bytes=self._settings.prefix_cache_mib * 2**20,
            ),
            memory_bytes=plan.memory_bytes,
            keep_alive_s=keep_alive_s,
            capabilities=Capabilities(context_length=plan.context_length),
            weights_sha256=lambda: self._sha256.get(facts.parts[0], ""),
        )


def is_file(given: str) -> bool:
    """Whether `given` means a file and not a name in the library."""
    return (
        given.lower().endswith(".gguf") or "\\" in given or given.startswith((".", "/", "~")) or Path(given).is_file()
    )


def _named(given: str) -> tuple[str, str]:
    """`NAME=TARGET` → both; `FILE.gguf` → its name without the ending; `MODEL` → itself."""
    name, separator, target = given.partition("=")
    # A path may contain "=", a model's name never contains a separator of folders.
    if separator and name and target and not Path(given).is_file() and not {"/", "\\"} & set(name):
        return name, target
    return (Path(given).expanduser().stem, given) if is_file(given) else (given, given)
