"""Which data may go where. Decided before anything is scored, and closed when in doubt."""
