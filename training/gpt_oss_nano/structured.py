"""Answers in an asked-for JSON shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pools
from dialogue import Draft, Draws, exactly, listed
from functions import compact
from words import addition, worked_out

from tundish.core.json_value import JsonObject, JsonValue
from tundish.core.request import JsonObjectFormat, JsonSchemaFormat, Message, SystemMessage

STRING: JsonObject = {"type": "string"}
INTEGER: JsonObject = {"type": "integer"}
STRINGS: JsonObject = {"type": "array", "items": STRING}
_THOUGHT = "I give the asked-for JSON."


def _object(properties: Mapping[str, JsonValue]) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _format(draws: Draws, name: str, properties: Mapping[str, JsonObject]) -> JsonSchemaFormat:
    """The schema as people write it, or as pydantic does (with titles), in either order of keys."""
    if draws.chance(0.45):
        titled = {
            key: {"title": key.replace("_", " ").title(), **value} if draws.chance(0.9) else value
            for key, value in properties.items()
        }
        schema: dict[str, JsonValue] = {
            "properties": titled,
            "required": list(properties),
            "title": name,
            "type": "object",
        }
        if draws.chance(0.7):
            schema["additionalProperties"] = False
        return JsonSchemaFormat(name=name, schema=schema)
    schema = dict(_object(properties))
    if draws.chance(0.3):
        del schema["additionalProperties"]
    return JsonSchemaFormat(name=name, schema=schema)


def _instructed(draws: Draws, messages: list[Message], *texts: str) -> list[Message]:
    if draws.chance(0.5):
        return messages
    return [
        SystemMessage(text=draws.of(*texts, "You extract data.", "Extract the information.", "Answer in JSON.")),
        *messages,
    ]


def _json(messages: list[Message], form: JsonSchemaFormat, answer: JsonValue, thought: str = _THOUGHT) -> Draft:
    return Draft(
        messages=messages,
        response_format=form,
        reasoning=thought,
        needs_reasoning=thought != _THOUGHT,
        answer=compact(answer),
    )


def json_person(draws: Draws) -> Draft:
    """A name and an age."""
    name, age = draws.person(), draws.random.randint(1, 99)
    key = draws.of("name", "name", "name", "first_name", "person", "user", "full_name", draws.word().lower())
    years = draws.of("age", "age", "age", "years", "years_old", draws.word().lower() + "_number")
    text = draws.one_of(
        """{n} is {a} years old.; {n}, {a} years old[|.]; [I am|I'm|My name is] {n} and I am {a}[| years old].; {n} ({a}); {n} turned {a} yesterday.; Extract the person: {n} is {a} years old.
        Meet {n}, aged {a}.; {n} is {a}; [John's|My|Her] friend {n} is {a} years old; {n} - {a}; name: {n}, age: {a}; [Hi|Hello], I'm {n}, {a} years old.; {n}, age {a}; {n}, {a}; The user {n} is {a}.; {n} was born {a} years ago.; Extract: {n}, {a}; At {a}, {n} is happy.; This is {n}, who is {a}."""
    ).format(n=name, a=age)
    name_of_form = draws.of(
        "person", "Person", "user", "User", "result", "UserInfo", "user_info", "Character", "record"
    )
    properties: dict[str, JsonObject] = {key: STRING, years: INTEGER}
    answer: dict[str, JsonValue] = {key: name, years: age}
    if draws.chance(0.15):
        properties, answer = dict(reversed(properties.items())), dict(reversed(answer.items()))
    messages = _instructed(
        draws, exactly(text), "Extract the person.", "Extract the user information.", "Extract the user."
    )
    return _json(messages, _format(draws, name_of_form, properties), answer)


def json_event(draws: Draws) -> Draft:
    """OpenAI's own example: an event, its day and who comes."""
    event, day = draws.random.choice(pools.EVENTS), draws.random.choice(pools.DAYS)
    if draws.chance(0.2):
        day = f"{draws.random.choice(pools.MONTHS)} {draws.random.randint(1, 28)}"
    people = draws.people(1, 3)
    verb = "is" if len(people) == 1 else "are"
    text = draws.one_of(
        """{w} {v} going to [a|the] {e} on {d}.; {w} will be at [a|the] {e} on {d}.; There is a {e} on {d} with {w}.; {w} {v} invited to a {e} on {d}.; On {d} {w} {v} going to a {e}.; {w} {v} planning a {e} for {d}.
        {w} [meet|will meet] for a {e} on {d}.; {e} on {d} with {w}; {w} {v} having a {e} on {d}.; [The|A] {e} [is|takes place] on {d}, and {w} {v} coming.; {w} [attend|will attend] [a|the] {e} on {d}.; {w} {v} going to a {e} on {d}"""
    ).format(w=listed(people), v=verb, e=event, d=day)
    keys = (
        draws.of("name", "name", "name", "title", "event"),
        draws.of("date", "date", "day"),
        draws.of("participants", "participants", "people", "attendees"),
    )
    form = _format(
        draws,
        draws.of("CalendarEvent", "CalendarEvent", "calendar_event", "event", "Event"),
        {keys[0]: STRING, keys[1]: STRING, keys[2]: STRINGS},
    )
    messages = _instructed(
        draws, exactly(text), "Extract the event information.", "Extract the event.", "You extract events."
    )
    return _json(messages, form, {keys[0]: event, keys[1]: day, keys[2]: people})


def _sum(draws: Draws) -> tuple[list[Message], str, int]:
    draft = addition(draws)
    thought = draft.reasoning
    return draft.messages, thought, int(thought.rpartition("= ")[2].rstrip("."))


def json_number(draws: Draws) -> Draft:
    """A sum under a key."""
    messages, thought, result = _sum(draws)
    key = draws.of("answer", "answer", "result", "sum", "value", "number", "total")
    kind: JsonObject = {"type": draws.of("integer", "number")}
    form = _format(draws, draws.of("answer", "result", "math", "Answer", "response", "MathAnswer", "sum"), {key: kind})
    return _json(messages, form, {key: result}, thought)


def json_steps(draws: Draws) -> Draft:
    """OpenAI's own example: steps and a final answer."""
    messages, thought, result = _sum(draws)
    expression = f"{thought.split(' ', 1)[1].split(' = ')[0]} = {result}"
    step = _object({"explanation": STRING, "output": STRING})
    form = JsonSchemaFormat(
        name=draws.of("math_response", "MathReasoning", "math_reasoning", "MathResponse"),
        schema=_object({"steps": {"type": "array", "items": step}, "final_answer": STRING}),
    )
    tutor = "You are a helpful math tutor."
    messages = _instructed(draws, messages, tutor, f"{tutor} Guide the user through the solution step by step.")
    steps: Sequence[JsonValue] = [{"explanation": "Add the numbers.", "output": expression}]
    return _json(messages, form, {"steps": steps, "final_answer": str(result)}, thought)


def json_list(draws: Draws) -> Draft:
    """A list of words under a key."""
    words = draws.words(1, 5)
    key = draws.of("items", "items", "words", "list", "things", "products", "tags", "ingredients", draws.word().lower())
    spelled = ", ".join(words) if draws.chance(0.6) else listed(words)
    text = draws.one_of(
        "List these: {l}; I need {l}[|.]; Shopping list: {l}; Buy {l}; The items are {l}.; {l}; Extract the items: {l}; We have {l}; I want to buy {l}.; Get {l} please; My list: {l}; There is {l}."
    ).format(l=spelled)
    form = _format(draws, draws.of("list", "items", "shopping", "words", "ShoppingList", "Items"), {key: STRINGS})
    return _json(_instructed(draws, exactly(text), "Extract the items.", "Make a list."), form, {key: words})


def json_place(draws: Draws) -> Draft:
    """Two strings: a person or a thing, and where or what."""
    name, city = draws.person(), draws.place()
    keys = draws.random.choice(
        [("name", "city"), ("person", "location"), ("name", "hometown"), ("user", "place"), ("name", "address")]
    )
    text = draws.one_of(
        "{n} lives in {c}.; {n} is from {c}.; I am {n} from {c}.; {n} moved to {c}.; My name is {n} and I live in {c}.; {n} works in {c}; {n}, {c}; {n} ({c}); {n} comes from {c}."
    ).format(n=name, c=city)
    form = _format(
        draws, draws.of("person", "address", "Person", "record", "Location"), {keys[0]: STRING, keys[1]: STRING}
    )
    messages = _instructed(draws, exactly(text), "Extract the data.", "Extract the person.")
    return _json(messages, form, {keys[0]: name, keys[1]: city})


_MOODS = {
    "positive": "great good wonderful excellent lovely perfect amazing nice fantastic brilliant awesome superb beautiful",
    "negative": "bad awful terrible horrible poor boring broken ugly disappointing dreadful disgusting slow annoying",
}


def json_mood(draws: Draws) -> Draft:
    """One of an enum's values."""
    mood = draws.random.choice(list(_MOODS))
    text = draws.one_of(
        "The {t} was {a}.; This {t} is {a}!; What a {a} {t}; I think the {t} is {a}; The {t} is really {a}.; {a} {t}; I [love|bought|tried] this, the {t} is {a}; Such a {a} {t}!"
    ).format(t=draws.word(), a=draws.random.choice(_MOODS[mood].split()))
    key = draws.of("sentiment", "sentiment", "mood", "label")
    choices: JsonObject = {
        "type": "string",
        "enum": draws.random.choice([["positive", "negative"], ["positive", "negative", "neutral"]]),
    }
    form = _format(draws, draws.of("sentiment", "Sentiment", "classification", "Classification"), {key: choices})
    messages = _instructed(
        draws, exactly(text), "Classify the sentiment.", "Is it positive or negative?", "Classify the text."
    )
    return _json(messages, form, {key: mood})


def json_object(draws: Draws) -> Draft:
    """JSON asked for in words, with the JSON mode or without it."""
    kind, thought = draws.random.randint(0, 2), _THOUGHT
    if kind == 0:
        name, age = draws.person(), draws.random.randint(1, 99)
        text = draws.one_of(
            """{n} is {a} years old. [Answer|Reply|Respond] [in|as|with] JSON with name and age.; [Return|Give me|Make] JSON with the keys name and age: {n}, {a}; Give me name and age as JSON: {n} is {a}.
            Extract name and age as JSON: {n} is {a} years old."""
        ).format(n=name, a=age)
        answer: JsonValue = {"name": name, "age": age}
    elif kind == 1:
        a, b = draws.number(10, 50), draws.number(10, 50)
        text = draws.one_of(
            "What is {a}+{b}? [Answer|Reply|Respond] [in|as|with] JSON.; Return JSON with the key answer: {a}+{b}; Compute {a} + {b} and answer as JSON.; What is {a} + {b}? Answer in JSON with the key answer."
        ).format(a=a, b=b)
        answer, thought = {"answer": a + b}, f"Add: {worked_out(a, '+', b, a + b)}."
    else:
        words = draws.words(2, 4)
        text = draws.one_of(
            "Make a JSON list of {l}; Return JSON with the key items: {l}; [Answer|Reply] in JSON: the items are {l}; Write {l} as JSON; Give me a JSON object with the items {l}"
        ).format(l=", ".join(words))
        answer = {"items": words}
    draft = Draft(
        messages=exactly(text), reasoning=thought, needs_reasoning=thought != _THOUGHT, answer=compact(answer)
    )
    if draws.chance(0.7):
        draft.response_format = JsonObjectFormat()
    return draft
