"""What this machine has for models: measured, never guessed."""

from tundish.engines.hardware.survey import memory, snapshot, survey

__all__ = ["memory", "snapshot", "survey"]
