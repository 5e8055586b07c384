"""Tundish: one OpenAI-compatible endpoint in front of every place where a team's models run."""

__version__ = "0.1.0"
