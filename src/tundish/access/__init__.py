"""Who asks, and with what right."""
