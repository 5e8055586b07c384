"""The HTTP surfaces: routes, access, errors, metrics. Wire formats on one side, the dispatcher on the other."""
