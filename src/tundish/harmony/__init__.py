"""gpt-oss's format: requests to token ids, token ids to events, grammars for what must be obeyed."""
