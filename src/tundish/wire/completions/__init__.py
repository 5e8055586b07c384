"""OpenAI's older completions: raw text to be continued, no conversation around it."""

from tundish.wire.completions.client import decode_stream, encode_request
from tundish.wire.completions.request import CompletionsRequest, decode_request
from tundish.wire.completions.response import CompletionBuilder, CompletionStream

__all__ = [
    "CompletionBuilder",
    "CompletionStream",
    "CompletionsRequest",
    "decode_request",
    "decode_stream",
    "encode_request",
]
