"""Fits a model to a machine: how long a context, how many slots, which cache, before anything is loaded.

`plan` is a pure function of the file's facts, the machine's hardware and what the owner wishes. It goes through the
ways of running the model from the best to the least and takes the first that fits: more memory never means less
context.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from tundish.catalog.errors import DoesNotFit
from tundish.catalog.fit.memory import KvType, Need, can_quantise_kv, need, repacked_bytes
from tundish.catalog.gguf.facts import GgufFacts
from tundish.catalog.hardware import Hardware, Memory

_LEAST_CONTEXT = 512
_MODEST_CONTEXT = 8_192
"""Slots are given up before the context becomes shorter than this."""
_COMFORTABLE_CONTEXT = 32_768
"""Up to here 8-bit keys and values are better than a shorter context. Beyond, the cache takes at most half of what is
left."""
_LONGEST_INPUT_EMBEDDED = 8_192
_RESERVE_SHARE = 20
_RESERVE_LEAST, _RESERVE_MOST = 256 * 2**20, 2 * 2**30
_GPU_RESERVE = 512 * 2**20

_MULTIPLICATIONS_PER_CORE_S = 20e9
_LONGEST_BATCH_S = 2.0
"""A cancelled request goes on until its batch is computed."""
_BATCHES = (512, 256, 128, 64)
_REPACKED_BYTES_PER_S = 0.8e9
_LONGEST_REPACKING_S = 15.0
_MOST_PROMPT_CACHE = 8 * 2**30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the owner wants; None leaves it to the plan. A context, a cache type or a number of threads is kept to."""

    context_length: int | None = None
    """For each request. What the model was not made for is not given."""
    slots: int = 4
    """At most."""
    threads: int | None = None
    gpu_layers: int | None = None
    """At most."""
    batch_tokens: int | None = None
    kv_type: KvType | None = None
    repack: bool | None = None
    """True repacks when it fits at all."""
    prompt_cache_mib: int | None = None
    """At most."""
    memory_bytes: int | None = None
    """The most that the model may take of main memory."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to run the model, every number decided."""

    context_length: int
    """Tokens of prompt and answer together that one request may have."""
    slots: int
    batch_tokens: int
    threads: int
    gpu_layers: int
    """With one more than the model's layers, its output is computed on the GPU, too."""
    kv_type: KvType
    repack: bool
    prompt_cache_mib: int
    need: Need
    """On CPU and GPU together."""
    gpu_bytes: int
    """What of `need` is in the memory of GPUs that have their own."""
    reason: str
    """The choice and why, in a line for people."""

    @property
    def kv_tokens(self) -> int:
        """Tokens of cache that the slots share: enough for each to use its whole context."""
        return self.context_length * self.slots

    @property
    def memory_bytes(self) -> int:
        """What it takes of main memory."""
        return self.need.total - self.gpu_bytes

    def as_wishes(self) -> Wishes:
        """Wishes that make this plan again, and no other: to load later what was promised now."""
        return Wishes(
            context_length=self.context_length,
            slots=self.slots,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
            batch_tokens=self.batch_tokens,
            kv_type=self.kv_type,
            repack=self.repack,
            prompt_cache_mib=self.prompt_cache_mib,
            memory_bytes=self.memory_bytes,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One way of running the model."""

    context_length: int
    slots: int
    kv_type: KvType
    batch_tokens: int
    need: Need
    gpu_layers: int
    gpu_bytes: int

    @property
    def memory_bytes(self) -> int:
        return self.need.total - self.gpu_bytes


def plan(facts: GgufFacts, hardware: Hardware, wishes: Wishes) -> Plan:
    """The best way to run the model here within what is wished.

    Raises:
        DoesNotFit: none fits; carries the numbers and the nearest thing that would.
    """
    budget = budget_bytes(hardware.memory, wishes.memory_bytes)
    way = _first_that_fits(facts, hardware, wishes, budget)
    if way is None:
        raise _does_not_fit(facts, hardware, wishes, budget)
    return _finish(facts, hardware, wishes, budget, way)


def budget_bytes(memory: Memory, most: int | None = None) -> int:
    """What models may take of main memory, at most `most`: what is available, less a reserve for everything else."""
    reserve = min(max(memory.total_bytes // _RESERVE_SHARE, _RESERVE_LEAST), _RESERVE_MOST)
    budget = max(memory.available_bytes - reserve, 0)
    return budget if most is None else min(budget, most)


# --- the search ---


def _first_that_fits(facts: GgufFacts, hardware: Hardware, wishes: Wishes, budget: int) -> _Way | None:
    for context, slots, kv_type in _preferences(facts, wishes):
        way = _way(facts, hardware, wishes, context, slots, kv_type)
        if _fits(way, facts, wishes, budget):
            return way
    return None


def _preferences(facts: GgufFacts, wishes: Wishes) -> Iterator[tuple[int, int, KvType]]:
    """Contexts, slots and cache types, the most wanted first. The context only ever gets shorter."""
    contexts = _contexts(facts, wishes)
    modest = min(_MODEST_CONTEXT, contexts[0])
    for context in contexts:
        for slots in _slot_counts(wishes.slots, context, modest, is_asked=wishes.context_length is not None):
            for kv_type in _kv_types(facts, wishes, context):
                yield context, slots, kv_type


def _contexts(facts: GgufFacts, wishes: Wishes) -> Sequence[int]:
    longest = facts.context_length
    if facts.is_embedding_model:
        longest = min(longest, _LONGEST_INPUT_EMBEDDED)
    if wishes.context_length is not None:
        return (min(longest, wishes.context_length),)
    steps = {longest}
    power = _LEAST_CONTEXT
    while power < longest:
        steps.add(power)
        if power >= _MODEST_CONTEXT and power + power // 2 < longest:
            steps.add(power + power // 2)
        power *= 2
    return sorted(steps, reverse=True)


def _slot_counts(wished: int, context: int, modest: int, *, is_asked: bool) -> Sequence[int]:
    if context > modest and not is_asked:
        return (wished,)
    if context < modest:
        return (1,)
    counts = [wished]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts


def _kv_types(facts: GgufFacts, wishes: Wishes, context: int) -> Sequence[KvType]:
    if wishes.kv_type is not None:
        return (wishes.kv_type if wishes.kv_type == "f16" or can_quantise_kv(facts) else "f16",)
    worthwhile = context <= _COMFORTABLE_CONTEXT or wishes.context_length is not None
    return ("f16", "q8_0") if worthwhile and can_quantise_kv(facts) else ("f16",)


def _fits(way: _Way, facts: GgufFacts, wishes: Wishes, budget: int) -> bool:
    if way.memory_bytes > budget:
        return False
    if way.context_length <= _COMFORTABLE_CONTEXT or wishes.context_length is not None:
        return True
    growing = way.need.kv + way.need.compute
    return 2 * growing <= budget + way.gpu_bytes - (way.need.total - growing)


def _way(facts: GgufFacts, hardware: Hardware, wishes: Wishes, context: int, slots: int, kv_type: KvType) -> _Way:
    batch = _batch_tokens(facts, hardware, wishes, context)
    needed = need(facts, context_length=context, slots=slots, batch_tokens=batch, kv_type=kv_type)
    gpu_layers, gpu_bytes = _place_on_gpus(facts, hardware, wishes, needed)
    return _Way(
        context_length=context,
        slots=slots,
        kv_type=kv_type,
        batch_tokens=batch,
        need=needed,
        gpu_layers=gpu_layers,
        gpu_bytes=gpu_bytes,
    )


def _batch_tokens(facts: GgufFacts, hardware: Hardware, wishes: Wishes, context: int) -> int:
    if facts.is_embedding_model:
        return context  # it reads its input at once or not at all
    if wishes.batch_tokens is not None:
        return min(wishes.batch_tokens, context)
    if hardware.usable_gpus:
        return min(_BATCHES[0], context)
    tokens_per_s = _threads(hardware, wishes) * _MULTIPLICATIONS_PER_CORE_S / max(facts.active_parameters, 1)
    return min(next((size for size in _BATCHES if size <= tokens_per_s * _LONGEST_BATCH_S), _BATCHES[-1]), context)


def _threads(hardware: Hardware, wishes: Wishes) -> int:
    return hardware.processor.usable_cores if wishes.threads is None else wishes.threads


def _place_on_gpus(facts: GgufFacts, hardware: Hardware, wishes: Wishes, needed: Need) -> tuple[int, int]:
    """Layers that go to the GPUs, and the main memory that this saves."""
    gpus = hardware.usable_gpus
    room = sum(max(gpu.free_bytes - _GPU_RESERVE, 0) for gpu in gpus) - needed.compute
    weights = facts.tensor_bytes
    in_layers = weights.total - weights.embedding - weights.output
    for_each = max((in_layers + needed.kv) // facts.block_count, 1)
    layers = max(min(facts.block_count, room // for_each), 0)
    if layers == facts.block_count and room - layers * for_each >= (weights.output or weights.embedding):
        layers += 1
    if wishes.gpu_layers is not None:
        layers = min(layers, wishes.gpu_layers)
    saved = min(layers, facts.block_count) * for_each + (weights.output if layers > facts.block_count else 0)
    # What a GPU without memory of its own computes on stays in main memory.
    return layers, 0 if any(gpu.unified for gpu in gpus) else saved


# --- what is decided once the model fits ---


def _finish(facts: GgufFacts, hardware: Hardware, wishes: Wishes, budget: int, way: _Way) -> Plan:
    left = budget - way.memory_bytes
    on_cpu = max(facts.block_count - way.gpu_layers, 0)
    extra = repacked_bytes(facts, hardware.processor.architecture) * on_cpu // facts.block_count
    repack = _repacks(wishes, extra, left)
    cache_mib = _prompt_cache_mib(wishes, way, left - extra if repack else left)
    needed = dataclasses.replace(way.need, repacked=extra if repack else 0, prompt_cache=cache_mib * 2**20)
    return Plan(
        context_length=way.context_length,
        slots=way.slots,
        batch_tokens=way.batch_tokens,
        threads=_threads(hardware, wishes),
        gpu_layers=way.gpu_layers,
        kv_type=way.kv_type,
        repack=repack,
        prompt_cache_mib=cache_mib,
        need=needed,
        gpu_bytes=way.gpu_bytes,
        reason=_reason(facts, hardware, wishes, way, repack=repack, extra=extra),
    )


def _repacks(wishes: Wishes, extra: int, left: int) -> bool:
    """Repacked weights answer prompts sooner; they load later and are in memory twice."""
    if wishes.repack is not None:
        return wishes.repack and extra <= left
    return 2 * extra <= left and extra / _REPACKED_BYTES_PER_S <= _LONGEST_REPACKING_S


def _prompt_cache_mib(wishes: Wishes, way: _Way, left: int) -> int:
    """A quarter of what is left, as far as prompts can fill it; all that is asked for, where it fits."""
    if wishes.prompt_cache_mib is not None:
        return min(wishes.prompt_cache_mib, left // 2**20)
    return min(left // 4, 4 * way.need.kv, _MOST_PROMPT_CACHE) // 2**20


# --- words ---


def gigabytes(size_bytes: float) -> str:
    """Memory for people, in powers of ten like the sizes of files."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.0f} MB"


def _reason(facts: GgufFacts, hardware: Hardware, wishes: Wishes, way: _Way, *, repack: bool, extra: int) -> str:
    choices = [f"context {way.context_length}", *_concessions(facts, wishes, way)]
    choices.append(f"{_threads(hardware, wishes)} threads")
    choices.append("f16 KV" if way.kv_type == "f16" else "8-bit KV to save memory")
    if way.gpu_layers:
        choices.append(f"{way.gpu_layers} of {facts.block_count + 1} layers on {hardware.usable_gpus[0].name}")
    if extra:
        with_it = gigabytes(way.memory_bytes + extra)
        choices.append("repacked weights" if repack else f"no repacking (would need {with_it})")
    rest = way.need.compute + way.need.engine
    sizes = (
        f"{gigabytes(way.need.weights)} weights + {gigabytes(way.need.kv)} KV for {way.slots} × {way.context_length} "
        f"tokens + {gigabytes(rest)} beside"
    )
    return f"{facts.name}: {sizes}, of {_available(hardware, wishes)}: {', '.join(choices)}"


def _available(hardware: Hardware, wishes: Wishes) -> str:
    allowed, free = wishes.memory_bytes, hardware.memory.available_bytes
    return f"{gigabytes(free)} free" if allowed is None or allowed > free else f"{gigabytes(allowed)} allowed"


def _concessions(facts: GgufFacts, wishes: Wishes, way: _Way) -> Iterator[str]:
    asked = wishes.context_length
    if asked is not None and asked > way.context_length:
        yield f"the model has no more than {facts.context_length}"
    elif asked is None and way.context_length < facts.context_length and not facts.is_embedding_model:
        yield f"of the model's {facts.context_length}"
    if way.slots < wishes.slots:
        yield f"{way.slots} instead of {wishes.slots} slots"


def _does_not_fit(facts: GgufFacts, hardware: Hardware, wishes: Wishes, budget: int) -> DoesNotFit:
    *_, least = _preferences(facts, wishes)
    smallest = _way(facts, hardware, wishes, *least)
    nearest = None
    if wishes.context_length is not None or wishes.kv_type is not None:
        free = dataclasses.replace(wishes, context_length=None, kv_type=None)
        nearest = _first_that_fits(facts, hardware, free, budget)
    if nearest is None:
        weights = max(budget - (smallest.memory_bytes - facts.tensor_bytes.total), 0)
        advice = (
            f"Weights of at most {gigabytes(weights)} would fit (these have {gigabytes(facts.tensor_bytes.total)}): "
            "choose a smaller model or variant, or end programs that use memory."
            if weights
            else "End programs that use memory, or use a machine with more."
        )
    else:
        advice = (
            f"A context of {nearest.context_length} tokens with {nearest.slots} slots and {nearest.kv_type} KV fits."
        )
    return DoesNotFit(
        f"{facts.name} with a context of {smallest.context_length} tokens needs at least "
        f"{gigabytes(smallest.memory_bytes)} of memory ({gigabytes(smallest.need.weights)} weights, "
        f"{gigabytes(smallest.need.kv)} KV cache); {gigabytes(budget)} of {gigabytes(hardware.memory.total_bytes)} "
        f"can be used{_limit(hardware, wishes)}. {advice}",
        needed_bytes=smallest.memory_bytes,
        available_bytes=budget,
        nearest_context_length=None if nearest is None else nearest.context_length,
    )


def _limit(hardware: Hardware, wishes: Wishes) -> str:
    if wishes.memory_bytes is not None and wishes.memory_bytes < hardware.memory.available_bytes:
        return ", since no more is allowed to it"
    limited_by = hardware.memory.limited_by
    return f", a limit of its {limited_by}" if limited_by else ""
