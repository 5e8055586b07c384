"""What happened, provably: receipts in a signed Merkle log, usage and cost."""
