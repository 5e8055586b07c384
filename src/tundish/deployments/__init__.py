"""Models at work on this machine: loaded when they are needed, unloaded when they are not, within the memory it has."""
