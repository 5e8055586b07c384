"""OpenAI's chat completions: the endpoint decodes requests and encodes answers, a client does the reverse."""

from tundish.wire.chat_completions.client_answer import decode_answer, decode_stream
from tundish.wire.chat_completions.client_request import encode_request
from tundish.wire.chat_completions.partial_answer import PartialAnswer, decode_partial
from tundish.wire.chat_completions.request import ChatCompletionRequest, decode_request
from tundish.wire.chat_completions.response import ChatCompletionBuilder
from tundish.wire.chat_completions.stream import ChatCompletionStream

__all__ = [
    "ChatCompletionBuilder",
    "ChatCompletionRequest",
    "ChatCompletionStream",
    "PartialAnswer",
    "decode_answer",
    "decode_partial",
    "decode_request",
    "decode_stream",
    "encode_request",
]
