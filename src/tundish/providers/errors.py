"""What can be wrong with a remote deployment before anything was sent."""

from __future__ import annotations

from tundish.core.errors import TundishError


class SpecInvalid(TundishError):
    """A remote deployment is described in a way that cannot work; the message says what to change."""

    code = "deployment_invalid"
