"""`tundish demo`: a site and a cloud on this machine, and what becomes of a handful of requests."""

from tundish.cli.demo.tour import COMMAND

__all__ = ["COMMAND"]
