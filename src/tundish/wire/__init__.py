"""Pure codecs between OpenAI's JSON and the core, in both directions: the endpoint and its clients share them."""
