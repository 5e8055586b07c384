"""What can go wrong with a deployment, beside what its backend says.

TundishError
├── InvalidRequest
│   └── DeploymentExists     a second deployment of the same name
├── Unavailable
│   ├── DeploymentNotLoaded  loading on first use is off, and nobody has loaded it
│   ├── DeploymentFailed     the last load failed, and it is too early for the next
│   ├── LoadQueueFull        it is loading, and enough requests wait for it already
│   ├── LoadCancelled        it was unloaded before it had finished loading
│   └── InsufficientMemory   it cannot be loaded beside what must stay; carries the numbers
└── BackendStopped
    └── DeploymentUnloaded   it was unloaded by force while it answered
"""

from __future__ import annotations

from collections.abc import Sequence

from tundish.core.errors import BackendStopped, InvalidRequest, Unavailable
from tundish.deployments.sizes import in_words


class DeploymentExists(InvalidRequest):
    """Names are given once."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a deployment called '{name}' already. Remove it first, or choose another name.",
            param="name",
            code="deployment_exists",
        )


class DeploymentNotLoaded(Unavailable):
    """Nobody has loaded it, and a request may not."""

    code = "model_not_loaded"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The model '{name}' is not loaded, and loading on first use is off here. "
            f"Load it with: tundish load {name}",
            retry_after_s=30.0,
        )


class DeploymentFailed(Unavailable):
    """It could not be loaded a moment ago; `reason` is what the backend said then."""

    code = "model_failed"

    def __init__(self, name: str, *, reason: str, retry_after_s: float) -> None:
        super().__init__(
            f"The model '{name}' cannot be used: {reason.rstrip('.')}. "
            f"A request may try again in {retry_after_s:.0f} s; `tundish load {name}` tries at once.",
            retry_after_s=retry_after_s,
        )
        self.reason = reason


class LoadQueueFull(Unavailable):
    """Enough requests wait for the model to be loaded."""

    code = "model_loading"

    def __init__(self, name: str, *, detail: str, waiting: int, retry_after_s: float) -> None:
        super().__init__(
            f"The model '{name}' cannot answer yet ({detail}), and {waiting} requests wait for it already. "
            f"Send it again in {retry_after_s:.0f} s.",
            retry_after_s=retry_after_s,
        )


class LoadCancelled(Unavailable):
    """An operator (or the end of the endpoint) ended the load that this waited for."""

    code = "model_load_cancelled"

    def __init__(self, name: str, *, reason: str) -> None:
        super().__init__(f"The model '{name}' was not loaded to the end: {reason}. Send the request again.")


class InsufficientMemory(Unavailable):
    """It does not fit beside what must stay. All sizes are in bytes."""

    code = "insufficient_memory"
    retryable = False

    def __init__(
        self, name: str, *, needed_bytes: int, budget_bytes: int, pinned: Sequence[str], pinned_bytes: int
    ) -> None:
        if needed_bytes > budget_bytes:
            why = (
                f"but models may use {in_words(budget_bytes)} here in all. "
                "Choose a smaller variant or a shorter context, or allow models more memory."
            )
        else:
            why = (
                f"but of the {in_words(budget_bytes)} that models may use here, {in_words(pinned_bytes)} are held by "
                f"what is pinned ({', '.join(pinned)}). Unpin or unload one of them with `tundish unload`."
            )
        super().__init__(f"The model '{name}' needs {in_words(needed_bytes)} of memory, {why}", retry_after_s=60.0)
        self.needed_bytes = needed_bytes
        self.budget_bytes = budget_bytes
        self.pinned_bytes = pinned_bytes


class DeploymentUnloaded(BackendStopped):
    """The answer ends early since an operator wanted the memory at once."""

    code = "model_unloaded"

    def __init__(self, name: str) -> None:
        super().__init__(f"The model '{name}' was unloaded by force while it answered. Send the request again.")
