"""GGUF files: read and judged before any engine sees one, and written for the embedded model."""

from tundish.catalog.gguf.facts import GgufFacts, LayerFacts, TensorBytes, read

__all__ = ["GgufFacts", "LayerFacts", "TensorBytes", "read"]
