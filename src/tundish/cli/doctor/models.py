"""The doctor on models: which are here, are they whole, does each fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tundish.catalog import fit, gguf
from tundish.catalog.cache import Cache, CachedModel, Contents
from tundish.catalog.card import WeightFormat
from tundish.catalog.errors import DoesNotFit
from tundish.catalog.fit.plan import Wishes, gigabytes
from tundish.catalog.hardware import Hardware
from tundish.cli.doctor.finding import Finding, ok, problem, warning
from tundish.core.errors import ModelFileInvalid, TundishError
from tundish.settings import Settings

_TOPIC = "model"


def examine(settings: Settings, hardware: Hardware) -> Iterator[Finding]:
    """Each model in the models folder, and each file that the settings name."""
    wishes = Wishes(
        context_length=settings.context_length,
        slots=settings.slots,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
    )
    for given in settings.models:
        path = Path(given.rpartition("=")[2]).expanduser()
        if path.suffix.lower() == ".gguf":
            yield _weights(str(path), path, hardware, wishes)
    try:
        contents = Cache(settings.models_folder).contents()
    except TundishError as error:
        yield problem("models folder", error.message, "Until then no model of it can be used.")
        return
    for model in contents.models:
        yield _cached(model, hardware, wishes)
    yield from _remains(contents)


def _cached(model: CachedModel, hardware: Hardware, wishes: Wishes) -> Finding:
    name, manifest = str(model.key), model.manifest
    problems = model.problems()
    if problems:
        return problem(_TOPIC, f"{name}: {problems[0]}", f"Fetch it again: tundish model pull {name}")
    if manifest.variant.format is not WeightFormat.GGUF:
        size = gigabytes(manifest.size_bytes)
        return ok(_TOPIC, f"{name} ({size} of {manifest.variant.format.value}): kept for other engines")
    return _weights(name, model.weights, hardware, wishes)


def _weights(name: str, path: Path, hardware: Hardware, wishes: Wishes) -> Finding:
    try:
        plan = fit.plan(gguf.read(path), hardware, wishes)
    except ModelFileInvalid as error:
        return problem(_TOPIC, f"{name}: {error.message}", "Get the file again, or take it out of the settings.")
    except DoesNotFit as error:
        return warning(_TOPIC, f"{name} does not fit now: {error.message}", "It is refused before anything is loaded.")
    return ok(_TOPIC, f"{name} fits. {plan.reason}")


def _remains(contents: Contents) -> Iterator[Finding]:
    here = {model.key for model in contents.models}
    for key, arrived in contents.partial.items():
        if key not in here:
            yield warning(
                _TOPIC,
                f"{key} is not complete, {gigabytes(arrived)} have arrived",
                f"Go on with `tundish model pull {key}`, or drop it with `tundish model remove {key}`.",
            )
    for folder in contents.unreadable:
        yield problem(_TOPIC, f"{folder} has a damaged manifest", "Remove this folder and pull its model again.")
