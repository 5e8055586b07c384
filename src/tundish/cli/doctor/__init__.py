"""`tundish doctor`: what this machine has, what fits, what is wrong, and what to do about it."""

from tundish.cli.doctor.examination import COMMAND

__all__ = ["COMMAND"]
