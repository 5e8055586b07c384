"""Families of functions: many names for the same thing, and the questions that ask for it."""

from __future__ import annotations

import dataclasses

import pools
from dialogue import Draws

from tundish.core.json_value import JsonObject, JsonValue
from tundish.core.request import FunctionTool


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """Names that mean the same, the JSON type and the pool that values are drawn from."""

    names: str
    kind: str
    pool: str


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """`about`: descriptions. `questions`: with `{0}`, `{1}` where the parameters' values are said."""

    names: str
    about: str
    parameters: tuple[Parameter, ...]
    questions: str


STRING, INTEGER, NUMBER, BOOLEAN = "string", "integer", "number", "boolean"

FAMILIES = (
    Family(
        "get_weather|get_current_weather|weather|getWeather|fetch_weather|weather_lookup|get_temperature|get_forecast|check_weather|current_weather",
        "Get the current weather in a given city|Get the weather|Get current weather for a location.|Returns the weather of a place|Get current temperature for a given location.|Get the current weather|Determine weather in my location|Get current temperature for provided coordinates.|Retrieves current weather for the given location.|The weather of a city.",
        (Parameter("city|location|location|place|town|city_name", STRING, "city"),),
        """[What's|What is|How's|How is] the weather [like |]in {0}[| today| now| right now| tomorrow| currently]?; [What's|What is|How's] the weather like [today |]in {0}?; Weather in {0}[?| today| now| please]; weather {0}; [Is it|Will it be] [raining|cold|warm|hot|sunny|windy|snowing|nice] in {0}[| today| now| right now]?
        How [warm|hot|cold|is it] [is it |]in {0}[| today| right now| now]?; [Tell|Give|Show] me the [weather|temperature|forecast|current weather] [in|for|of] {0}; Will it [rain|snow] in {0}[| today| tomorrow]?; What is the [temperature|forecast|current weather|current temperature] [in|for] {0}[| today| now]?; [Check|Look up|Get|Find|Please check] the [weather|temperature|forecast|current weather] [in|for] {0}; Do I need [an umbrella|a coat|a jacket] in {0}[| today]?; [Can|Could] you [tell me|check|get|look up] the weather [in|for] {0}?; I am in {0}, how is the weather?; I'm going to {0}, what's the weather like?; What should I wear in {0} today?; use the tool: weather in {0}""",
    ),
    Family(
        "add|sum|add_numbers|plus|calculate_sum|addition|add_two_numbers|sum_numbers",
        "Add two numbers|Returns the sum of two integers.|Adds a and b|Add numbers|Add two integers|Calculates a sum",
        (Parameter("a|a|x|first|left|num1|first_number", INTEGER, "number"), Parameter("b|b|y|second|right|num2|second_number", INTEGER, "number")),
        "What is {0}+{1}?; What is {0} + {1}?; What's {0} + {1}?; Add {0} and {1}; What is {0} plus {1}?; {0}+{1}; {0} + {1}; Compute {0} + {1}; Calculate {0} + {1}; How much is {0} + {1}?; What is the sum of {0} and {1}?; [Please|Can you] add {0} and {1}; Use the tool to add {0} and {1}; Sum {0} and {1}",
    ),
    Family(
        "multiply|product|times|mul|multiply_numbers",
        "Multiply two numbers|Returns the product of two integers.|Multiplies a by b|Multiply two integers",
        (Parameter("a|a|x|first|num1", INTEGER, "number"), Parameter("b|b|y|second|num2", INTEGER, "number")),
        "What is {0} times {1}?; Multiply {0} by {1}; What is {0}*{1}?; What is {0} * {1}?; {0} x {1}; {0} * {1}; Compute {0} * {1}; Calculate {0} * {1}; How much is {0} times {1}?; Multiply {0} and {1}; What is the product of {0} and {1}?",
    ),
    Family(
        "search|web_search|search_web|find|lookup|search_documents|search_docs|google|search_knowledge_base|query",
        "Search the web|Search for something|Searches documents|Look something up|Search the internet for information|Query a knowledge base to retrieve relevant info on a topic.|Full-text search",
        (Parameter("query|query|q|text|search_term|term|search_query|keywords", STRING, "words"),),
        "Search for {0}; Search the [web|internet|documents] for {0}; Look up {0}; Find {0}; Find [information|something|documents|articles] about {0}; Google {0}; Search {0}; [Please|Can you|Could you] [search for|look up|find] {0}; What do the documents say about {0}?; Do a web search for {0}; I need information about {0}; Who or what is {0}?; search: {0}",
    ),
    Family(
        "set_timer|timer|start_timer|create_timer|set_alarm|countdown",
        "Set a timer|Starts a timer for some minutes|Sets a timer.|Start a countdown",
        (Parameter("minutes|minutes|duration|duration_minutes|mins|length", INTEGER, "number"),),
        "[Set|Start|Create|Please set|Can you set] a timer for {0} minutes; Timer {0} minutes; Remind me in {0} minutes; {0} minute timer please; Wake me in {0} minutes; Set a {0} minute timer; [Set|Start] a timer of {0} minutes; I need a timer for {0} minutes; Count down {0} minutes; timer for {0} min",
    ),
    Family(
        "send_email|email|send_message|send_mail|message|send_sms|notify_user",
        "Send an email|Send a message to somebody|Sends a mail|Send an email to a given recipient.",
        (Parameter("to|to|recipient|name|receiver", STRING, "recipient"), Parameter("body|text|message|content|body", STRING, "words")),
        "Send an email to {0} saying {1}; Send {0} an email saying {1}; Write to {0}: {1}; Email {0}: {1}; Send {0} the message {1}; Message {0}: {1}; Tell {0} by email: {1}; Send a message to {0}: {1}; Send an email to {0}: {1}; Write an email to {0} that says {1}; Please tell {0}: {1}",
    ),
    Family(
        "play_music|play_song|play|start_music|play_track",
        "Play a song|Plays music|Play music by title|Start playback",
        (Parameter("title|song|name|track|song_name", STRING, "words"),),
        "Play {0}; Play the song {0}; Put on {0}; I want to hear {0}; Please play {0}; Start playing {0}; Can you play {0}?; Let me hear {0}",
    ),
    Family(
        "get_time|current_time|get_current_time|time_in|clock|get_local_time",
        "Get the current time in a city|Current time of a place|Returns the time.|Get the time for a location",
        (Parameter("city|location|timezone|place", STRING, "city"),),
        "What time is it in {0}[| now| right now]?; Current time in {0}[?|]; What's the time in {0}?; Tell me the time in {0}; time in {0}; How late is it in {0}?; [Can you|Please] tell me the time in {0}; What is the local time in {0}?",
    ),
    Family(
        "turn_light|set_light|switch_light|light|control_light|toggle_light",
        "Turn a light on or off|Switches the light of a room|Light control",
        (Parameter("room|location|place|room", STRING, "room"), Parameter("on|state|enabled|on", BOOLEAN, "switch")),
        "Turn {1} the light in the {0}; Switch {1} the light in the {0}; Light {1} in the {0}; Please turn {1} the {0} light; Turn the {0} light {1}; Turn {1} the lights in the {0}; Turn the light in the {0} {1}",
    ),
    Family(
        "book_flight|find_flights|search_flights|flight|get_flights",
        "Book a flight|Find flights between two cities|Search flights",
        (Parameter("origin|from_city|departure|source|start", STRING, "city"), Parameter("destination|to_city|arrival|target|destination", STRING, "city")),
        "Book a flight from {0} to {1}; Find [flights|a flight] from {0} to {1}; I want to fly from {0} to {1}; Flights from {0} to {1}; Get me from {0} to {1}; [Search|Show me|Are there] flights from {0} to {1}; How do I get from {0} to {1}?; I need a flight from {0} to {1}",
    ),
    Family(
        "get_stock_price|stock_price|get_price|price|get_product|check_price",
        "Get the price of something|Current price|Returns a price.|Get the current stock price",
        (Parameter("symbol|name|item|product|ticker", STRING, "word"),),
        "What is the price of {0}?; What's the price of {0}?; How much is {0}?; Price of {0}?; What does {0} cost?; Get the price of {0}; How expensive is {0}?; How much does {0} cost?; Check the price of {0}; What is the stock price of {0}?",
    ),
    Family(
        "get_user|find_user|lookup_user|get_customer|get_employee|find_person|search_contacts",
        "Find a user by name|Look up a user|Get a customer record|Finds a person",
        (Parameter("name|username|user|customer|person", STRING, "person"),),
        "Find the user {0}; Find {0}; Look up {0}; Who is the user {0}?; Get the customer {0}; Show me the record of {0}; Find {0} in the database; Look up the user {0}; Do we have a customer called {0}?; Get the data of {0}",
    ),
    Family(
        "read_file|open_file|get_file|load_file|cat|show_file|view_file",
        "Open a file|Reads a file|File access by name|Read the contents of a file",
        (Parameter("path|filename|name|file|file_path", STRING, "file"),),
        "Open the file {0}; Read {0}; Read the file {0}; Show me the file {0}; What is in {0}?; Open {0}; Show {0}; Please read {0}; What does {0} contain?; Print the content of {0}; Load {0}",
    ),
    Family(
        "create_event|add_event|schedule|new_event|add_to_calendar|schedule_meeting",
        "Create a calendar event|Adds an event|Schedule something on a day",
        (Parameter("title|name|event|subject|summary", STRING, "event"), Parameter("day|date|when|weekday", STRING, "day")),
        "Schedule a {0} on {1}; Add a {0} on {1} to my calendar; Create an event: {0} on {1}; Put a {0} on {1}; Plan a {0} for {1}; Schedule a {0} for {1}; There is a {0} on {1}, add it to my calendar; Add {0} on {1}",
    ),
    Family(
        "translate|translate_text|get_translation",
        "Translate a text|Translates text into a language",
        (Parameter("text|text|input|phrase", STRING, "words"), Parameter("language|target|to|target_language", STRING, "language")),
        "Translate {0} to {1}; Translate {0} into {1}; What is {0} in {1}?; How do you say {0} in {1}?; Say {0} in {1}; Please translate {0} to {1}",
    ),
    Family(
        "set_temperature|set_thermostat|heat|thermostat|set_heating",
        "Set the temperature of a room|Controls the thermostat",
        (Parameter("temperature|degrees|value|celsius", NUMBER, "number"),),
        "Set the temperature to {0}[| degrees]; Make it {0} degrees; Heat to {0} degrees; Set the thermostat to {0}; [Please|Can you] set the temperature to {0} degrees; Turn the heating to {0}",
    ),
    Family(
        "add_todo|add_item|add_to_list|create_task|add_task|remember|take_note|save_note|create_note",
        "Add something to a list|Adds a task|Save a note",
        (Parameter("item|text|task|title|note", STRING, "words"),),
        "Add {0} to [my|the] [list|todo list|shopping list|tasks]; Put {0} on [my|the] list; Remember {0}; Note: {0}; Create a task: {0}; New task: {0}; Save a note: {0}; I need to buy {0}; Don't let me forget {0}",
    ),
)  # fmt: skip

_LANGUAGES = "French German Spanish Italian Japanese Chinese English Dutch Polish Greek Korean Latin Turkish".split()
_UNITS = ("celsius", "fahrenheit")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A drawn function: the tool as a client sends it and how to ask for it."""

    meaning: str
    """The family's first name; a function without a family has a meaning of its own."""
    tool: FunctionTool
    fields: tuple[str, ...]
    pools: tuple[str, ...]
    questions: str
    units: str | None = None
    """The name of a further enum parameter."""
    units_required: bool = False


def value(draws: Draws, pool: str) -> tuple[JsonValue, str]:
    """A value of `pool`, and how a question says it."""
    drawn: str | int
    match pool:
        case "city":
            drawn = draws.place()
        case "person":
            drawn = draws.person()
        case "recipient":
            drawn = (
                draws.person()
                if draws.chance(0.7)
                else f"{draws.word()}@{draws.of('example.com', 'mail.com', 'test.org')}"
            )
        case "number":
            drawn = draws.number(10, 60, 100, 999)
        case "word":
            drawn = draws.word()
        case "words":
            drawn = draws.phrase(1, 5)
        case "room":
            drawn = draws.random.choice(pools.ROOMS)
        case "file":
            drawn = draws.word() + draws.of(".txt", ".md", ".json", ".py", ".csv", ".pdf", ".yaml")
        case "event":
            drawn = draws.random.choice(pools.EVENTS)
        case "day":
            drawn = draws.random.choice(pools.DAYS)
        case "language":
            drawn = draws.random.choice(_LANGUAGES)
        case _:
            return (True, "on") if draws.chance(0.5) else (False, "off")
    return drawn, str(drawn)


def offered(draws: Draws, family: Family | None = None) -> Offered:
    """A function of `family`, or of none: a verb and a noun."""
    return _general(draws) if family is None else _of_family(draws, family)


def _of_family(draws: Draws, family: Family) -> Offered:
    names = family.names.split("|")
    name = draws.random.choice(names)
    if draws.chance(0.1):
        name = f"{name}_{draws.word().lower()}"
    fields: list[str] = []
    properties: dict[str, JsonObject] = {}
    for parameter in family.parameters:
        field = draws.word().lower() if draws.chance(0.12) else draws.random.choice(parameter.names.split("|"))
        field = field if field not in fields else field + "_2"
        fields.append(field)
        properties[field] = _property(draws, field, parameter.kind)
    required = list(fields)
    units, units_required = None, False
    if names[0] == "get_weather" and draws.chance(0.35):
        units, units_required = draws.of("unit", "unit", "units", "format"), draws.chance(0.35)
        properties[units] = _described(draws, {"type": STRING, "enum": list(_UNITS)}, "The unit of the temperature")
        required += [units] if units_required else []
    tool = _tool(draws, name, draws.random.choice(family.about.split("|")), properties, required)
    return Offered(
        meaning=names[0],
        tool=tool,
        fields=tuple(fields),
        pools=tuple(parameter.pool for parameter in family.parameters),
        questions=family.questions,
        units=units,
        units_required=units_required,
    )


def _general(draws: Draws) -> Offered:
    verb = draws.random.choice(pools.VERBS) if draws.chance(0.7) else draws.word().lower()
    noun = draws.random.choice(pools.NOUNS) if draws.chance(0.7) else draws.word().lower()
    name = draws.of(
        f"{verb}_{noun}", f"{verb}_{noun}", f"{verb}{noun.capitalize()}", f"{noun}_{verb}", f"{verb}-{noun}", verb
    )
    kind, pool = draws.random.choice(
        [
            (STRING, "word"),
            (STRING, "person"),
            (INTEGER, "number"),
            (STRING, "city"),
            (STRING, "words"),
            (NUMBER, "number"),
        ]
    )
    field = (
        draws.word().lower()
        if draws.chance(0.5)
        else draws.of("id", "name", "value", "key", f"{noun}_id", "input", "number", noun)
    )
    questions = (
        f"{verb.capitalize()} [the |]{noun} {{0}}; {verb.capitalize()} {{0}}; Please {verb} the {noun} {{0}}; Can you {verb} the {noun} {{0}}?; "
        f"{verb.capitalize()} the {noun} with {field} {{0}}; Call {name} with {{0}}; Use {name} for {{0}}; I want to {verb} the {noun} {{0}}; "
        f"Run {name} on {{0}}; {verb} {noun} {{0}}; {verb.capitalize()} the {noun} of {{0}}"
    )
    tool = _tool(draws, name, f"{verb.capitalize()} a {noun}", {field: _property(draws, field, kind)}, [field])
    return Offered(meaning=f"general {name}", tool=tool, fields=(field,), pools=(pool,), questions=questions)


def _property(draws: Draws, field: str, kind: str) -> JsonObject:
    examples = "City and country e.g. Bogotá, Colombia", "The city and state, e.g. San Francisco, CA", "A value"
    text = draws.of(f"The {field}", field, "The value", *(examples if kind == STRING else ()))
    return _described(draws, {"type": kind}, text)


def _described(draws: Draws, schema: dict[str, JsonValue], text: str) -> JsonObject:
    return {**schema, "description": text} if draws.chance(0.4) else schema


def _tool(draws: Draws, name: str, about: str, properties: dict[str, JsonObject], required: list[str]) -> FunctionTool:
    parameters: dict[str, JsonValue] = {"type": "object", "properties": properties, "required": required}
    if draws.chance(0.5):
        parameters["additionalProperties"] = False
    described = draws.chance(0.85)
    return FunctionTool(
        name=name[:60], description=about if described else None, parameters=parameters, strict=draws.chance(0.3)
    )


def asked(draws: Draws, function: Offered) -> tuple[str, dict[str, JsonValue]]:
    """A question for `function` and the arguments that it should be called with."""
    values = [value(draws, pool) for pool in function.pools]
    text = draws.one_of(function.questions).format(*(said for _, said in values))
    arguments: dict[str, JsonValue] = {field: given for field, (given, _) in zip(function.fields, values, strict=True)}
    if function.units is not None:
        if draws.chance(0.4):
            unit = draws.random.choice(_UNITS)
            text = text.rstrip("?") + f" in {draws.of(unit, unit.capitalize())}" + ("?" if text.endswith("?") else "")
            arguments[function.units] = unit
        elif function.units_required:
            arguments[function.units] = _UNITS[0]
    return text, arguments
