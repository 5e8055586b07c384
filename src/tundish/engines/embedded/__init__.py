"""gpt-oss-nano, which comes with Tundish: packed in the installation, expanded into an ordinary GGUF on first use."""

from tundish.engines.embedded.expansion import EmbeddedModelUnavailable, expand, sha256

__all__ = ["EmbeddedModelUnavailable", "expand", "sha256"]
