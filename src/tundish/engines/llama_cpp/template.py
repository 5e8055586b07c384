"""Any GGUF chat model as a backend: llama-server applies the template in the file and parses what the model says."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from tundish.catalog import gguf
from tundish.core.backend import BackendStatus, Capabilities
from tundish.core.errors import BackendError, ContextLengthExceeded, InvalidRequest, TundishError
from tundish.core.events import ChoiceFinished, Finished, FinishReason, GenerationEvent, TextDelta, Usage
from tundish.core.request import CompletionRequest, JsonSchemaFormat, NamedTool, Request, ToolMode
from tundish.engines.llama_cpp import chat_schema, chat_wire, wire
from tundish.engines.llama_cpp.chat_choice import ChatChoice
from tundish.engines.llama_cpp.engine import LlamaCppEngine

_TEMPLATE_COMPLAINT = re.compile(r"template|jinja|Failed to parse (messages|tool)", re.IGNORECASE)


class TemplateBackend:
    """A `Backend` over llama-server's own chat surface, through the same child, slots and queue as the token engine."""

    def __init__(self, engine: LlamaCppEngine) -> None:
        self._engine = engine
        self._has_template = False
        self._template = chat_wire.TemplateCapabilities()

    @property
    def capabilities(self) -> Capabilities:
        template = self._template
        return Capabilities(
            context_length=self._engine.context_length,
            tools=template.supports_tools,
            structured_output=self._has_template,
            reasoning=template.supports_preserve_reasoning,
            reasoning_effort=template.supports_reasoning_effort,
        )

    def status(self) -> BackendStatus:
        return self._engine.status()

    async def start(self) -> None:
        facts = await asyncio.to_thread(gguf.read, self._engine.options.model_path)
        await self._engine.start()
        self._has_template = facts.has_chat_template
        if self._has_template:
            async with self._engine.connection() as link:
                status, body = await link.client.request("GET", "/props", headers=link.headers)
                if status == 200:
                    self._template = chat_wire.decode_properties(body).chat_template_caps

    async def stop(self) -> None:
        await self._engine.stop()

    async def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        self._check(request)
        if request.sampling.max_tokens == 0:
            raise InvalidRequest(
                "An answer has a token at least. Raise the limit, or leave it out.", param="max_tokens"
            )
        choices = [ChatChoice(request.sampling, choice=choice) for choice in range(request.n)]

        def body(count: int, first: int) -> bytes:
            return chat_wire.encode_chat(
                request,
                choices=count,
                first=first,
                context_length=self._engine.context_length,
                reasoning_effort=self._template.supports_reasoning_effort,
            )

        async for event in self._drive("/v1/chat/completions", body, choices):
            yield event

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        if request.suffix:
            raise InvalidRequest("This model cannot fill in text before a suffix. Leave 'suffix' out.", param="suffix")
        if not request.prompt:
            raise InvalidRequest(
                "This model has nothing to begin with. Give a prompt of a token or more.", param="prompt"
            )
        length = self._engine.context_length
        if not isinstance(request.prompt, str) and len(request.prompt) >= length:  # before the child gets to see them
            raise ContextLengthExceeded(prompt_tokens=len(request.prompt), context_length=length)
        echoed = await self._text_of(request.prompt) if request.echo else ""
        choices = [ChatChoice(request.sampling, choice=choice) for choice in range(request.n)]
        if echoed:
            for choice in range(request.n):
                yield TextDelta(echoed, choice)

        def body(count: int, first: int) -> bytes:
            return wire.encode_completion(
                request, choices=count, first=first, context_length=self._engine.context_length
            )

        if request.sampling.max_tokens == 0:  # llama.cpp would draw one
            for choice in range(request.n):
                yield ChoiceFinished(FinishReason.LENGTH, choice)
            yield Finished(Usage(prompt_tokens=await self._count(request.prompt), completion_tokens=0))
            return
        async for event in self._drive("/v1/completions", body, choices):
            yield event

    def _check(self, request: Request) -> None:
        if not self._has_template:
            raise InvalidRequest(
                "This model's file has no chat template, so it cannot hold a conversation. "
                "Use /v1/completions with raw text, or a file of the model's chat variant.",
                param="model",
            )
        if request.tools and request.tool_choice is not ToolMode.NONE and not self._template.supports_tools:
            raise InvalidRequest("This model's chat template knows no tools. Leave 'tools' out.", param="tools")
        choice = request.tool_choice
        if isinstance(choice, NamedTool) and choice.name not in {tool.name for tool in request.tools}:
            raise InvalidRequest(f"There is no tool '{choice.name}' in 'tools'.", param="tool_choice")
        if isinstance(request.response_format, JsonSchemaFormat):
            chat_schema.check(request.response_format.schema, param="response_format")
        for tool in request.tools:
            if tool.strict and tool.parameters is not None:
                chat_schema.check(tool.parameters, param=f"tools.{tool.name}.parameters")

    async def _drive(
        self, path: str, body: Callable[[int, int], bytes], choices: Sequence[ChatChoice]
    ) -> AsyncGenerator[GenerationEvent, None]:
        """All choices, in as many rounds as the slots need, then the usage over all of them."""
        options = self._engine.options
        # Only llama-server knows how long the prompt is: each choice reserves all that it may have.
        at_once = min(options.slots, options.kv_pool_tokens // options.context_length)
        prompt = wire.Progress()
        for first in range(0, len(choices), at_once):
            batch = choices[first : first + at_once]
            encoded = body(len(batch), first)
            async with (
                self._engine.connection(
                    slots=len(batch),
                    kv_tokens=len(batch) * options.context_length,
                    left_early=functools.partial(_cut_off, batch),
                ) as link,
                link.client.stream("POST", path, headers=link.headers, body=encoded) as response,
            ):
                if response.status != 200:
                    raise _refusal(response.status, await response.read())
                async for chunk in chat_wire.chunks(self._engine.listen(link, response)):
                    prompt = chunk.prompt_progress or prompt
                    for event in _fed(batch, chunk):
                        yield event
                    if all(choice.settled for choice in batch):
                        break
                else:
                    raise BackendError("The model's engine ended its answer early. Send the request again.")
        yield Finished(
            Usage(
                prompt_tokens=prompt.total,
                cached_tokens=prompt.cache,
                completion_tokens=sum(choice.completion_tokens for choice in choices),
                reasoning_tokens=sum(choice.reasoning_tokens for choice in choices),
            )
        )

    async def _text_of(self, prompt: str | tuple[int, ...]) -> str:
        if isinstance(prompt, str):
            return prompt
        status, answer = await self._ask("/detokenize", {"tokens": prompt})
        if status != 200:
            raise InvalidRequest("The prompt has token ids that this model does not know.", param="prompt")
        return chat_wire.decode_text(answer).content

    async def _count(self, prompt: str | tuple[int, ...]) -> int:
        if not isinstance(prompt, str):
            return len(prompt)
        status, answer = await self._ask("/tokenize", {"content": prompt, "add_special": True})
        return len(wire.decode_tokens(answer).tokens) if status == 200 else 0

    async def _ask(self, path: str, body: dict[str, object]) -> tuple[int, bytes]:
        """What the child answers to a question that needs no slot."""
        async with self._engine.connection(slots=0) as link:
            return await link.client.request("POST", path, headers=link.headers, body=msgspec.json.encode(body))


def _cut_off(batch: Sequence[ChatChoice]) -> bool:
    return any(choice.cut_off for choice in batch)


def _fed(batch: Sequence[ChatChoice], chunk: chat_wire.Chunk) -> list[GenerationEvent]:
    if chunk.prompt_progress is not None:
        return []
    events = [event for piece in chunk.choices for event in batch[piece.index].feed(piece)]
    if chunk.usage is not None:
        # It follows the end of the choice that it belongs to, or comes with it; which one, it does not say.
        for choice in batch:
            if choice.ended and not choice.settled:
                choice.settle(chunk.usage.completion_tokens)
                break
    return events


def _refusal(status: int, body: bytes) -> TundishError:
    """Why nothing was generated. A template's complaint about the conversation comes with status 500, too."""
    error = wire.failure(status, body)
    if isinstance(error, BackendError) and _TEMPLATE_COMPLAINT.search(error.message):
        return InvalidRequest(f"The model's chat template refuses the conversation: {error.message}", param="messages")
    return error
