"""Calling offered functions, and answering from what they return."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pools
from dialogue import Draft, Draws, exchange
from function_pool import FAMILIES, Offered, asked, offered
from small_talk import small_talk
from words import addition, introduction

from tundish.core.json_value import JsonValue
from tundish.core.request import AssistantMessage, FunctionTool, Message, ToolCall, ToolMessage, UserMessage


def compact(value: JsonValue) -> str:
    """JSON without spaces, as the model writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _as_tool_writes(draws: Draws, value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False) if draws.chance(0.6) else compact(value)


def _toolbox(draws: Draws, first: Offered | None = None) -> list[Offered]:
    families = draws.random.sample(FAMILIES, draws.random.choice([1, 1, 1, 2, 2, 3]))
    drawn = [first] if first else []
    for family in families[1:] if first else families:
        function = offered(draws, None if draws.chance(0.3) else family)
        if all(function.tool.name != other.tool.name and function.meaning != other.meaning for other in drawn):
            drawn.append(function)
    draws.random.shuffle(drawn)
    return drawn


def _tools(functions: Sequence[Offered]) -> tuple[FunctionTool, ...]:
    return tuple(function.tool for function in functions)


def _typed(draws: Draws, text: str) -> str:
    if draws.chance(0.15):
        text = text[0].lower() + text[1:]
    return text.rstrip("?.") if draws.chance(0.15) else text


def call(draws: Draws) -> Draft:
    """One call, sometimes with the right tool to be chosen among several, sometimes after an exchange."""
    functions = _toolbox(draws, offered(draws, FAMILIES[0]) if draws.chance(0.2) else None)
    chosen = draws.random.choice(functions)
    text, arguments = asked(draws, chosen)
    messages: list[Message] = []
    if draws.chance(0.15):
        messages += exchange(draws.random.choice([small_talk, introduction])(draws))
    elif draws.chance(0.12):
        messages += _finished_round(draws, draws.random.choice(functions))
    messages.append(UserMessage(text=_typed(draws, text)))
    return Draft(
        messages=messages,
        tools=_tools(functions),
        reasoning=f"I call {chosen.tool.name}.",
        call=(chosen.tool.name, compact(arguments)),
    )


def _finished_round(draws: Draws, function: Offered) -> list[Message]:
    text, arguments = asked(draws, function)
    result, sentence = _result(draws, function, arguments)
    call_id = _call_id(draws)
    return [
        UserMessage(text=_typed(draws, text)),
        AssistantMessage(
            tool_calls=(ToolCall(call_id=call_id, name=function.tool.name, arguments=compact(arguments)),)
        ),
        ToolMessage(call_id=call_id, text=result),
        AssistantMessage(text=sentence),
    ]


def _call_id(draws: Draws) -> str:
    return f"call_{draws.random.randrange(10**9)}"


def _weather(draws: Draws, place: str) -> tuple[str, str]:
    degrees, sky = draws.random.randint(-10, 40), draws.random.choice(pools.CONDITIONS)
    form = draws.random.random()
    told = f"It is {degrees} degrees and {sky} in {place}."
    temperature = draws.of("temperature", "temperature", "temp", "degrees", "temp_c", "temperature_c", "celsius")
    weather = draws.of("condition", "sky", "weather", "conditions", "description", "forecast", "summary", "state")
    if form < 0.35:
        return _as_tool_writes(draws, {temperature: degrees, weather: sky}), told
    if form < 0.45:
        return _as_tool_writes(draws, {weather: sky, temperature: degrees}), told
    if form < 0.6:
        where = draws.of("city", "location", "place", "name")
        return _as_tool_writes(draws, {where: place, temperature: degrees, weather: sky}), told
    if form < 0.68:
        unit = {draws.of("unit", "units"): draws.of("celsius", "C", "fahrenheit")}
        return _as_tool_writes(draws, {temperature: degrees, **unit}), f"It is {degrees} degrees in {place}."
    if form < 0.8:
        return draws.of(
            _as_tool_writes(draws, {temperature: degrees}),
            f"{degrees}",
            f"{degrees}°C",
            f"{degrees} degrees",
            f"{degrees}C",
        ), f"It is {degrees} degrees in {place}."
    if form < 0.9:
        return draws.of(_as_tool_writes(draws, {weather: sky}), sky), f"It is {sky} in {place}."
    return draws.of(
        f"{sky}, {degrees} degrees", f"{degrees} degrees and {sky}", f"{degrees}°C, {sky}", f"{sky}, {degrees}°C",
        f"{degrees} degrees, {sky}", f"It is {degrees} degrees and {sky}.", f"{sky} and {degrees} degrees",
    ), told  # fmt: skip


def _result(draws: Draws, function: Offered, arguments: Mapping[str, JsonValue]) -> tuple[str, str]:
    """What the tool returns, and the sentence that tells it."""
    first = str(next(iter(arguments.values())))
    match function.meaning:
        case "get_weather":
            return _weather(draws, first)
        case "add" | "multiply":
            a, b = (int(str(value)) for value in list(arguments.values())[:2])
            number = a + b if function.meaning == "add" else a * b
            key = draws.of("result", "sum", "value", "answer")
            return draws.of(str(number), _as_tool_writes(draws, {key: number})), f"The result is {number}."
        case "get_time":
            clock = f"{draws.random.randint(0, 23):02}:{draws.random.randint(0, 59):02}"
            return draws.of(
                clock, _as_tool_writes(draws, {draws.of("time", "now"): clock})
            ), f"It is {clock} in {first}."
        case "get_stock_price":
            price = draws.random.randint(1, 999)
            key = draws.of("price", "usd", "amount", "cost")
            return draws.of(str(price), _as_tool_writes(draws, {key: price})), f"The price of {first} is {price}."
        case _:
            return _other_result(draws)


def _other_result(draws: Draws) -> tuple[str, str]:
    if draws.chance(0.3):
        done = (
            '{"ok": true}',
            "ok",
            '{"status": "ok"}',
            "done",
            '{"success": true}',
            "OK",
            '{"status":"success"}',
            "success",
            "null",
            "true",
        )
        return draws.random.choice(done), "Done."
    if draws.chance(0.15):
        text = draws.phrase(1, 4)
        return _as_tool_writes(draws, {"error": text}), f"The function failed: {text}."
    value: JsonValue = draws.phrase(1, 5) if draws.chance(0.75) else draws.number(100, 999)
    key = draws.of("result", "answer", "value", "text", "content", draws.word().lower())
    return (_as_tool_writes(draws, {key: value}) if draws.chance(0.6) else str(value)), f"The result is {value}."


def answer_from_result(draws: Draws) -> Draft:
    """Tell what the tool returned."""
    functions = _toolbox(draws, offered(draws, FAMILIES[0]) if draws.chance(0.45) else None)
    chosen = next((function for function in functions if function.meaning == "get_weather"), functions[0])
    text, arguments = asked(draws, chosen)
    result, sentence = _result(draws, chosen, arguments)
    call_id = _call_id(draws)
    made = ToolCall(call_id=call_id, name=chosen.tool.name, arguments=compact(arguments))
    kept = f"I call {chosen.tool.name}." if draws.chance(0.6) else None
    messages: list[Message] = [
        UserMessage(text=_typed(draws, text)),
        AssistantMessage(reasoning=kept, tool_calls=(made,)),
        ToolMessage(call_id=call_id, text=result),
    ]
    return Draft(messages=messages, tools=_tools(functions), reasoning="I tell the result.", answer=sentence)


def two_cities(draws: Draws) -> Draft:
    """Two questions in one: the second call after the first result, then both are told."""
    function = offered(draws, FAMILIES[0])
    while function.units_required:
        function = offered(draws, FAMILIES[0])
    cities = draws.place(), draws.place()
    text = draws.one_of(
        """[What's|What is|How is|How's] the weather [like |]in {a} and [|in ]{b}[| today| now]?; Weather in {a} and [|in ]{b}[?|]; Compare the weather in {a} and {b}; [Tell|Give] me the weather in {a} and {b}
        Is it [warmer|colder|nicer] in {a} or [|in ]{b}?; [Check|Get|Look up] the weather [in|for] {a} and {b}; What is the temperature in {a} and {b}?"""
    ).format(a=cities[0], b=cities[1])
    calls = [
        ToolCall(call_id=_call_id(draws), name=function.tool.name, arguments=compact({function.fields[0]: city}))
        for city in cities
    ]
    degrees = [draws.random.randint(-10, 40) for _ in cities]
    key = draws.of("temperature", "temp", "degrees")
    results = [_as_tool_writes(draws, {key: number}) if draws.chance(0.8) else str(number) for number in degrees]
    messages: list[Message] = [UserMessage(text=_typed(draws, text))]
    tools = (function.tool,)
    thought = f"I call {function.tool.name}."
    done = draws.random.randint(0, 2)
    for made, result in list(zip(calls, results, strict=True))[:done]:
        kept = thought if draws.chance(0.6) else None
        messages += [
            AssistantMessage(reasoning=kept, tool_calls=(made,)),
            ToolMessage(call_id=made.call_id, text=result),
        ]
    if done < 2:
        return Draft(
            messages=messages, tools=tools, reasoning=thought, call=(function.tool.name, calls[done].arguments)
        )
    sentence = f"It is {degrees[0]} degrees in {cities[0]} and {degrees[1]} degrees in {cities[1]}."
    return Draft(messages=messages, tools=tools, reasoning="I tell the results.", answer=sentence)


def tools_not_needed(draws: Draws) -> Draft:
    """Tools are offered, but the question needs none."""
    functions = _toolbox(draws)
    calculates = any(function.meaning in ("add", "multiply") for function in functions)
    choices = [small_talk, small_talk, introduction] if calculates else [small_talk, small_talk, introduction, addition]
    draft = draws.random.choice(choices)(draws)
    draft.tools = _tools(functions)
    return draft


_NOTHING: Mapping[str, JsonValue] = {"string": "unknown", "integer": 0, "number": 0, "boolean": False}


def forced_call(draws: Draws) -> Draft:
    """A call that the client demands although nothing was said that it could be filled from."""
    function = offered(draws, draws.random.choice(FAMILIES))
    draft = small_talk(draws)
    parameters = function.tool.parameters
    assert parameters is not None
    properties, required = parameters["properties"], parameters["required"]
    assert isinstance(properties, Mapping)
    assert isinstance(required, Sequence)
    arguments: dict[str, JsonValue] = {}
    for name in required:
        schema = properties[str(name)]
        assert isinstance(schema, Mapping)
        choices = schema.get("enum")
        arguments[str(name)] = choices[0] if isinstance(choices, Sequence) else _NOTHING[str(schema["type"])]
    return Draft(
        messages=draft.messages,
        tools=(function.tool,),
        reasoning=draft.reasoning,
        call=(function.tool.name, compact(arguments)),
        forced=True,
    )
