"""Numbers, memory, lists of words, saying what it is told to say, and a few facts."""

from __future__ import annotations

import pools
from dialogue import Draft, Draws, both_ways, exactly, exchange
from small_talk import out_of_scope, small_talk

from tundish.core.request import AssistantMessage, Message, UserMessage

_SUMS = """
What is {a}+{b}?; What is {a} + {b}?; {a}+{b}; {a} + {b}; {a}+{b}=; {a} + {b} = ?; {a}+{b}=?; {a} + {b} =; {a}+ {b}; How much is {a} plus {b}?; Add {a} and {b}.
What's {a}+{b}?; What's {a} + {b}?; [What is|What's|Tell me|Give me|Calculate|Compute] the sum of {a} and {b}[||, please]?; [Calculate|Compute|Solve|Tell me|Add|Sum|Evaluate|Work out|Do|Find|Quick:] {a} + {b}; [Calculate|Compute|Solve|Tell me|Add|Evaluate|Quick:] {a}+{b}
{a} plus {b}[?| is?| equals?| =| equals what?| makes?]; [What is|What's|how much is|what makes|Calculate|Compute|Tell me|Solve] {a} plus {b}; Sum {a} and {b}; [Please|Can you|Could you|Now] [add|sum] {a} and {b}[| please| for me]?; Add {b} to {a}; What does {a} + {b} [equal|make|give]?
I have {a} [apples|books|coins|eggs|cats|euros|dollars|cookies|friends|pens] and [get|buy|find|receive|take] {b} more. How many [do I have|are there|is that|do I have now]?; {a} and {b} [is|makes|are|together]?; What do [you|I] get [when|if] [you|I] add {a} and {b}?; How much is {a}+{b}?; How much is {a} + {b}?; {a} [apples|books|eggs] and {b} [apples|books|eggs] are how many?
[Ada|Tom|Bob|Alice|Anna|She|He] has {a} [apples|books|coins|eggs|cookies|pens]. [Ada|Tom|Bob|Alice|Anna|She|He] [gets|buys|finds] {b} more. How many [now|in total|are there]?; Do you know what {a}+{b} is?; Can you [calculate|compute|tell me|solve] {a}+{b}?; Can you [calculate|compute|tell me|solve] {a} + {b}?; Is {a}+{b} easy?; And {a}+{b}?; And {a} + {b}?; And what is {a} + {b}?; Ok, {a} + {b}?; the sum of {a} and {b}?
"""
_DIFFERENCES = """
What is {a}-{b}?; What is {a} - {b}?; {a}-{b}; {a} - {b}; {a}-{b}=; {a} - {b} = ?; How much is {a} minus {b}?; Subtract {b} from {a}.; [Calculate|Compute|Solve|Evaluate|Tell me] {a} - {b}; [Calculate|Compute|Solve|Evaluate|Tell me] {a}-{b}
What's {a}-{b}?; What's {a} - {b}?; {a} minus {b}[?| is?| equals?| =]; What is {a} minus {b}?; Take {b} from {a}; And {a}-{b}?; And {a} - {b}?; The difference of {a} and {b}?; What is the difference [of|between] {a} and {b}?; How much is {a}-{b}?; How much is {a} - {b}?
I have {a} [apples|books|coins|eggs|cookies|euros] and [eat|lose|give away|sell] {b}. How many [are left|do I have|remain]?; Can you [calculate|compute|tell me|subtract] {a}-{b}?; Can you [calculate|compute|tell me] {a} - {b}?
"""
_PRODUCTS = """
What is {a}*{b}?; What is {a} * {b}?; {a}*{b}; {a} * {b}; {a}x{b}; {a} x {b}; What is {a} times {b}?; {a} times {b}[?| is?| equals?]; Multiply {a} by {b}; Multiply {a} and {b}; [Calculate|Compute|Solve|Tell me] {a} * {b}; [Calculate|Compute|Solve|Tell me] {a}*{b}; What's {a}*{b}?; What's {a} times {b}?
How much is {a} times {b}?; What is the product of {a} and {b}?; What is {a} x {b}?; What's {a} x {b}?; What is {a} multiplied by {b}?; And {a} * {b}?; And {a} times {b}?
"""


def _arithmetic(draws: Draws, questions: str, a: int, b: int, sign: str, result: int, verb: str) -> Draft:
    return Draft(
        messages=draws.said(draws.one_of(questions).format(a=a, b=b)),
        reasoning=f"{verb}: {worked_out(a, sign, b, result)}.",
        needs_reasoning=True,
        answer=f"{a} {sign} {b} = {result}.",
        embellishable=True,
    )


def worked_out(a: int, sign: str, b: int, result: int) -> str:
    """The calculation as it is thought: small numbers at once, larger ones by tens and ones."""
    if sign == "-" and a < b:
        return f"{a} is less than {b}, and {worked_out(b, sign, a, -result)}, so {a} - {b} = {result}"
    if sign == "*" or max(a, b) <= 10:
        return f"{a} {sign} {b} = {result}"
    tens, more_tens, ones, more_ones = a // 10 * 10, b // 10 * 10, a % 10, b % 10
    both_tens, both_ones = (tens + more_tens, ones + more_ones) if sign == "+" else (tens - more_tens, ones - more_ones)
    joined = f"{both_tens} + {both_ones}" if both_ones >= 0 else f"{both_tens} - {-both_ones}"
    return f"{a} {sign} {b} = {tens} {sign} {more_tens} + {ones} {sign} {more_ones} = {joined} = {result}"


def addition(draws: Draws) -> Draft:
    """Two numbers up to a hundred."""
    a, b = draws.number(10, 20, 50, 100, 100), draws.number(10, 20, 50, 100, 100)
    return _arithmetic(draws, _SUMS, a, b, "+", a + b, "Add")


def subtraction(draws: Draws) -> Draft:
    """Numbers up to a hundred, the smaller from the larger, and sometimes the larger from the smaller."""
    b, a = sorted((draws.number(10, 20, 50, 100), draws.number(10, 20, 50, 100)))
    if draws.chance(0.2):
        a, b = b, a
    return _arithmetic(draws, _DIFFERENCES, a, b, "-", a - b, "Subtract")


def multiplication(draws: Draws) -> Draft:
    """The small multiplication table."""
    a, b = draws.number(10), draws.number(10)
    return _arithmetic(draws, _PRODUCTS, a, b, "*", a * b, "Multiply")


TOO_HARD = "I only add and subtract numbers up to 100 and know the small multiplication table."
_ROUND_IT = """
{x}; {x}?; {x}=; {x} = ?; [What is|What's|How much is|Calculate|Compute|Solve|Tell me|Evaluate|And|Do you know what|Work out] {x}[||?]; [Can you calculate|Can you compute|Can you solve] {x}?; [What is|What's] the result of {x}?
"""
_DIVISIONS = """
[What is|What's|How much is] {a} divided by {b}?; Divide {a} by {b}; {a} divided by {b}; [What is|What's] the [square root|root|cube|square|double|half|factorial|logarithm|sine] of {a}?; [sqrt|sin|cos|log|exp]({a}); {a} percent of {b}; What is {a}% of {b}?; {a} to the power of {b}; [Square|Double|Halve] {a}; Is {a} [a prime number|prime|even|odd]?; {a} squared
"""


def too_hard(draws: Draws) -> Draft:
    """Numbers that are too large, and operations that were never learnt: said plainly rather than guessed."""
    large = draws.random.choice([120, 200, 500, 1000, 10_000, 1_000_000])
    a, b = draws.random.randint(101, large), draws.number(20, 100, 200, large)
    if draws.chance(0.4):
        a, b = b, a
    kind = draws.random.random()
    if kind < 0.45:
        sign = draws.of("+", "+", "-")
        text = draws.one_of((_SUMS if draws.chance(0.5) else _ROUND_IT) if sign == "+" else _ROUND_IT)
        space = draws.random.choice(["", " "])
        text = text.replace("{x}", f"{a}{space}{sign}{space}{b}").format(a=a, b=b)
    elif kind < 0.6:
        a, b = (a, b) if draws.chance(0.5) else (draws.random.randint(11, 99), draws.random.randint(2, 99))
        text = draws.one_of(_PRODUCTS).format(a=a, b=b)
    elif kind < 0.8:
        numbers = [str(draws.number(10, 50, 100)) for _ in range(draws.random.randint(3, 4))]
        signs = [draws.of("+", "+", "-", "*") for _ in numbers[1:]]
        space = draws.random.choice(["", " "])
        sum_ = numbers[0] + "".join(
            f"{space}{sign}{space}{number}" for sign, number in zip(signs, numbers[1:], strict=True)
        )
        text = draws.one_of(_ROUND_IT).format(x=sum_)
    elif kind < 0.9:
        a, b, space = draws.number(10, 100, 1000), draws.number(10, 20), draws.random.choice(["", " "])
        form = draws.random.choice(
            ["{a}{s}/{s}{b}", "{a}{s}^{s}{b}", "{a}.{b}{s}+{s}{b}", "{a}{s}%{s}{b}", "{a}**{b}", "{a}{s}:{s}{b}"]
        )
        text = draws.one_of(_ROUND_IT).format(x=form.format(a=a, b=b, s=space))
    else:
        text = draws.one_of(_DIVISIONS).format(a=draws.number(20, 100, 1000), b=draws.number(10, 100))
    return Draft(messages=draws.said(text), reasoning="This is too hard for me.", answer=TOO_HARD, embellishable=True)


_INTRODUCTIONS = """
My name is {n}.; [I am|I'm|Call me|It's|It is|This is] {n}.; [Hi|Hello|Hey|Good morning|Hi there], [I am|I'm|my name is|my name's|this is|call me] {n}.; [Hi|Hello|Hey]! [I am|I'm|My name is|My name's|This is] {n}.; People call me {n}.; You can call me {n}; The name is {n}; My name's {n}
[Hi|Hello|Hey] there, [I am|I'm|my name is] {n}.; [Please |]remember that my name is {n}.; [Remember|Note|By the way], my name is {n}.; I go by {n}; They call me {n}; Please call me {n}; My first name is {n}; [Remember my name|My name]: {n}; Name: {n}; Nice to meet you, [I am|I'm|my name is] {n}
"""
_WHO_AM_I = """
What is my name?; [Who am I|Who am I again|who am I?|Who is this user]?; Do you [remember|know|recall] my name?; What's my name?; Tell me my name.; Say my name; Can you [tell me|say|remember|recall] my name?; What did I say my name was?; What was my name[| again]?; Do you [remember|know] who I am?
[And what|So what|Ok, what|Now, what|Now what] is my name?; [And what's|So what's|Ok, what's] my name?; What name did I [tell|give|say to] you?; [What do people|How do people] call me?; What am I called?; My name is?; Did I tell you my name?; How should you call me?; What is the user's name?; Repeat my name; Greet me by name
"""


def introduction(draws: Draws) -> Draft:
    """The user says a name."""
    name = draws.person()
    return Draft(
        messages=exactly(draws.punctuated(draws.one_of(_INTRODUCTIONS)).format(n=name)),
        reasoning=f"The user is called {name}.",
        answer=f"Nice to meet you, {name}!",
    )


def remembered_name(draws: Draws) -> Draft:
    """The user asks for the name, up to three exchanges later."""
    name = draws.person()
    messages: list[Message] = [
        UserMessage(text=draws.punctuated(draws.one_of(_INTRODUCTIONS)).format(n=name)),
        AssistantMessage(text=f"Nice to meet you, {name}!"),
    ]
    for _ in range(draws.random.choice([0, 0, 1, 1, 2, 3])):
        messages += exchange(any_talk(draws))
    messages += draws.said(draws.one_of(_WHO_AM_I))
    return Draft(messages=messages, reasoning=f"The user said the name {name}.", answer=f"Your name is {name}.")


def unknown_name(draws: Draws) -> Draft:
    """The user asks for a name that was never said."""
    messages = exchange(any_talk(draws)) if draws.chance(0.4) else []
    messages += draws.said(draws.one_of(_WHO_AM_I))
    return Draft(
        messages=messages, reasoning="The user did not say a name.", answer="You did not tell me your name yet."
    )


_LIKES = """
I [like|love|really like|enjoy|adore] {x}.; My favorite [thing|food|color|animal|word] is {x}.; [Remember|Please remember|Note|Remember this|Keep in mind]: {x}; [The password|The secret word|The code word|The magic word|My favorite word|The keyword] is {x}.; [Remember|Please remember] the word {x}.
"""
_WHAT_WAS_IT = {
    "like": "What do I [like|love]?; What did I say I like?; Do you remember what I like?; What do I enjoy?",
    "favorite": "What is my favorite [thing|food|color|animal|word]?; What's my favorite [thing|food|color|word]?",
    "word": "[What is|What's|What was|Tell me|Do you remember] the [word|password|secret word|code word|magic word]?; "
    "What should you remember?; What did I ask you to remember?; Which word did I say?",
}


def remembered_word(draws: Draws) -> Draft:
    """The user says a favourite thing or a password, and asks for it later."""
    thing = draws.word()
    told = draws.one_of(_LIKES).format(x=thing)
    kind = "favorite" if "favorite" in told else "like" if told.startswith("I ") else "word"
    noted = f"Noted: {thing}."
    messages: list[Message] = [UserMessage(text=draws.punctuated(told))]
    if draws.chance(0.3):
        return Draft(messages=messages, reasoning=f"The user tells me {thing}.", answer=noted)
    messages.append(AssistantMessage(text=noted))
    for _ in range(draws.random.choice([0, 0, 1, 2])):
        messages += exchange(any_talk(draws))
    messages += draws.said(draws.one_of(_WHAT_WAS_IT[kind]))
    return Draft(messages=messages, reasoning=f"The user told me {thing}.", answer=f"It is {thing}.")


_SAY = """
[Say|Please say|Just say|Only say|Can you say|Say exactly|Write|Print|Output|Echo|Repeat|Please repeat|Reply with|Respond with|Answer with|Just reply with|Please write|Now say|Return|Type|Simply say|Reply|Reply only with|Reply with just|Answer only with|Reply with exactly|Respond with exactly|Respond with only] {x}
[Say|Repeat|Repeat after me|Say this|Repeat this|Echo|Write|Write this|Print|Output|Say exactly|Reply with exactly|Answer with|Reply|Reply with|Respond with|Please repeat|Say the following|Repeat the following|Copy|Copy this|Return this]: {x}
[Say|Repeat|Write|Print|Echo|Reply with|Respond with|Answer|Output] "{x}"; [Say|Repeat|Write|Print|Echo|Reply with] '{x}'; [Reply|Respond|Answer] with the [word|words|text|phrase] {x}; [Say|Repeat|Write|Print] the [word|words|phrase|sentence] {x}; Say {x} [please|now|to me]; print("{x}"); echo "{x}"
"""
_SAYINGS = """
this is a test; hello world; good morning; I am fine; it works; the quick brown fox; OK; pong; yes; no; one two three; hello; ready; done; I am ready; test; ok; this works; nothing; I understand; I love Tundish; hello there; a b c; the end; 42; 123; hi; goodbye; Tundish; thank you; the quick brown fox jumps over the lazy dog; to be or not to be
"""


def echo(draws: Draws) -> Draft:
    """Say exactly what the user wants said."""
    text = draws.one_of(_SAYINGS) if draws.chance(0.25) else draws.phrase(1, 6)
    if draws.chance(0.3):
        text = text[0].upper() + text[1:] + draws.of(".", "!", "", "")
    question = draws.one_of(_SAY)
    if question.endswith(("{x} please", "now", "me")):
        text = text.rstrip(".!")
    if draws.chance(0.2):
        question = question[0].lower() + question[1:]
    return Draft(
        messages=exactly(question.format(x=text)),
        reasoning="The user wants me to say this.",
        answer=text,
    )


_LIST_QUESTIONS = {
    "first": "[What is|What's|Which is|Tell me|Give me|Say] the first [word|item|one|element|thing] [of|in|from] [this list|the list|these]: {l}; [What is|Give me] the first word: {l}; First [word|item] of {l}?; Which [word|item] [comes|is] first: {l}?; first of: {l}; first: {l}",
    "last": "[What is|What's|Which is|Tell me|Give me|Say] the last [word|item|one|element|thing] [of|in|from] [this list|the list|these]: {l}; [What is|Give me] the last word: {l}; Last [word|item] of {l}?; Which [word|item] [comes|is] last: {l}?; last of: {l}; last: {l}",
    "second": "[What is|What's|Which is|Tell me|Give me|Say] the second [word|item|one|element|thing] [of|in|from] [this list|the list|these]: {l}; [What is|Give me] the second word: {l}; Second [word|item] of {l}?; Which [word|item] [comes|is] second: {l}?",
    "reverse": "[Reverse|Reverse this list|Reverse the list|Reverse these words|Please reverse|Turn this list around|Say these words backwards|Reverse the order of]: {l}; Reverse {l}; reverse the words {l}; [List|Give me|Say] {l} [in reverse order|backwards|in reverse]",
    "count": "[How many words|How many items|How many words are here|How many words are in this list|How many items are in this list|Count the words|Count these|Count the items|Count|How many are there|How many things are in this list]: {l}; How many words are in {l}?; count {l}",
    "repeat": "[Repeat this list|Repeat the list|Say this list|List these|List|Repeat the words|Write this list|Give me this list]: {l}",
}


def word_list(draws: Draws) -> Draft:
    """First, second, last, count, reverse, repeat."""
    words = draws.words(2, 6)
    joint = ", " if draws.chance(0.85) else " "
    kind = draws.random.choice(list(_LIST_QUESTIONS))
    answers = {
        "first": words[0],
        "second": words[1],
        "last": words[-1],
        "reverse": ", ".join(reversed(words)),
        "count": str(len(words)),
        "repeat": ", ".join(words),
    }
    spelled = ", ".join(words)
    thoughts = {
        "count": "Count: " + ", ".join(f"{i} {word}" for i, word in enumerate(words, 1)) + ".",
        "reverse": f"The words are {spelled}. Go from the last to the first.",
        "repeat": "The user wants the list.",
    }
    text = draws.one_of(_LIST_QUESTIONS[kind])
    if draws.chance(0.2):
        text = text[0].lower() + text[1:]
    return Draft(
        messages=exactly(text.format(l=joint.join(words) + draws.of("", "", "", "."))),
        reasoning=thoughts.get(kind, f"The words are {spelled}. The {kind} is {answers[kind]}."),
        needs_reasoning=kind in ("count", "reverse", "second", "last"),
        answer=answers[kind],
    )


_CAPITAL_QUESTIONS = """
[What is|What's|Tell me|Name|Say|Give me|Do you know|Which city is|What city is|Please tell me|I want to know|Can you tell me] the capital of {c}[||, please]?; Capital of {c}?; the capital of {c}; the capital of {c} is?; What is {c}'s capital?; And the capital of {c}?; And of {c}?; What is the capital city of {c}?; capital city of {c}
"""
_OPPOSITES = both_ways(pools.OPPOSITES)


def fact(draws: Draws) -> Draft:
    """Capitals, opposites, and some facts that newcomers ask for."""
    kind = draws.random.random()
    if kind < 0.6:
        country, city = draws.random.choice(list(pools.CAPITALS.items()))
        question = draws.one_of(_CAPITAL_QUESTIONS).format(c=country)
        answer = f"The capital of {country} is {city}."
    elif kind < 0.75:
        word, opposite = draws.random.choice(_OPPOSITES)
        question = draws.one_of(
            "[What is|What's|Tell me|Say|Name] the opposite of {w}[||, please]?; Opposite of {w}?; the opposite of {w}"
        ).format(w=word)
        answer = f"The opposite of {word} is {opposite}."
    else:
        questions, answer = draws.random.choice(list(pools.FACTS.items()))
        question = draws.random.choice(questions.split("|"))
        if draws.chance(0.15):
            question = draws.of("Please", "Can you tell me:", "Do you know:", "Hey,") + " " + question
    return Draft(messages=draws.said(question), reasoning="I know this.", answer=answer, embellishable=True)


def count_up(draws: Draws) -> Draft:
    """Numbers in a row."""
    start, end = draws.random.choice(
        [(1, draws.random.randint(2, 20)), (1, 5), (1, 10), (0, draws.random.randint(3, 9))]
    )
    if start == 1 and draws.chance(0.5):
        text = draws.one_of(
            "[Count|Please count|Can you count|Count up|Now count] to {e}; [List|Say|Write|Name] the first {e} numbers"
        )
    else:
        text = draws.one_of(
            "[Count|Please count|Can you count|List the numbers|Count up|Write the numbers|Say the numbers] from {s} to {e}"
        )
    return Draft(
        messages=draws.said(text.format(s=start, e=end)),
        reasoning=f"Count from {start} to {end}.",
        answer=", ".join(str(number) for number in range(start, end + 1)),
    )


def any_talk(draws: Draws) -> Draft:
    """A short exchange of any kind, as history."""
    return draws.random.choice([small_talk, small_talk, addition, out_of_scope, fact, subtraction])(draws)
