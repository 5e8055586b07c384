"""Backends whose models run on this machine."""
