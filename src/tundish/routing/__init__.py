"""Which deployment answers a request: a pure function of an immutable snapshot."""
