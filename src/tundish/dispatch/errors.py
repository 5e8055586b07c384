"""What ends a request before any deployment was asked, or after all of them were.

Unavailable
├── NoDeploymentLeft        a constraint took the last one away; says which
│   └── NoPlaceAllowed      it was the policy: trying again cannot help
└── EveryAttemptFailed      they were asked, and none answered
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tundish.core.errors import Unavailable


class NoDeploymentLeft(Unavailable):
    """No deployment of the route may answer now."""

    code = "no_deployment_left"


class NoPlaceAllowed(NoDeploymentLeft):
    """No deployment of the route is in a place that this data may go to."""

    code = "no_place_allowed"
    retryable: ClassVar[bool] = False


class EveryAttemptFailed(Unavailable):
    """All deployments that may answer were asked, and none did."""

    code = "every_attempt_failed"

    def __init__(self, route: str, failures: Sequence[tuple[str, str]], *, retry_after_s: float) -> None:
        """`failures`: deployment and what became of the attempt, in their order; of several at one the last is told."""
        told = " ".join(f"{deployment}: {message}" for deployment, message in dict(failures).items())
        super().__init__(f"No deployment of '{route}' that may answer this did. {told}", retry_after_s=retry_after_s)
