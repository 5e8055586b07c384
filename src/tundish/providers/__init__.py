"""Backends whose models run in another program."""
