"""The `tundish` command: `serve` runs an endpoint, everything else is a client of one."""
