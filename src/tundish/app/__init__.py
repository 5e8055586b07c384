"""The composition root: the only package that knows every part, and how they are put together."""

from tundish.app.endpoint import Endpoint, endpoint
from tundish.app.serve import loop_factory, run
from tundish.app.supervisor import supervise

__all__ = ["Endpoint", "endpoint", "loop_factory", "run", "supervise"]
