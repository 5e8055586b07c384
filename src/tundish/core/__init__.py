"""The vocabulary that every other package speaks: requests, events, errors, ports. Standard library only."""
