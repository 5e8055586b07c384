"""Model files that several suites load, written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.markov_model import write_markov_model
from benchmarks.random_gpt_oss import SHAPES, write_model

from tundish.harmony.vocabulary import O200K_HARMONY

# Ends with the marker of what is to be said: a tool call when there are tools, a song when one is asked for.
CHAT_TEMPLATE = """\
{%- if tools %}{{- '<|im_start|>system\\n<tools>' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{{- '</tools>\\nReturn a json object within <tool_call></tool_call> XML tags:\\n<tool_call>\\n' }}
{{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}
{%- if message.reasoning_content %}{{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}{%- endif %}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}{%- set call = call.function or call %}
{{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
{%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
{{- '}\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}
{%- elif message.content == 'forbidden' %}{{- raise_exception('This conversation is forbidden.') }}
{%- else %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if tools %}{{- '<|use_tool|>' }}{%- elif messages[-1].content == 'Sing!' %}{{- '<|sing|>' }}
{%- elif messages[-1].content == 'Think!' %}{{- '<|ponder|>' }}{%- else %}{{- '<|go|>' }}{%- endif %}{%- endif %}"""
SAYS = {
    "<|go|>": ["Hello", " wor", "ld", "! 🙂"],
    "<|ponder|>": ["<think>", "\nIt is", " a greeting.", "\n</think>", "\n\nGood", " day."],
    "<|use_tool|>": [
        "<tool_call>",
        '\n{"name": "get_',
        'weather", "argu',
        'ments": {"city"',
        ': "Par',
        'is"}}',
        "\n</tool_call>",
    ],
}
SINGS = {"<|sing|>": ["la", " di", " da"]}


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_gpt_oss(models_folder: Path) -> Path:
    """A gpt-oss with the full vocabulary and random weights: quick, and what it says is noise."""
    path = models_folder / "tiny-gpt-oss.gguf"
    write_model(path, SHAPES["tiny"], O200K_HARMONY())
    return path


@pytest.fixture(scope="session")
def slow_gpt_oss(models_folder: Path) -> Path:
    """The same, but slow enough for something to happen in the middle of a prompt."""
    path = models_folder / "slow-gpt-oss.gguf"
    write_model(path, SHAPES["slow"], O200K_HARMONY())
    return path


@pytest.fixture(scope="session")
def chat_model(models_folder: Path) -> Path:
    """No gpt-oss: a model with a chat template of its own, which says what `SAYS` and `SINGS` have."""
    path = models_folder / "chat.gguf"
    write_markov_model(path, SAYS, endless=SINGS, template=CHAT_TEMPLATE)
    return path


@pytest.fixture(scope="session")
def model_without_template(models_folder: Path) -> Path:
    path = models_folder / "no-template.gguf"
    write_markov_model(path, {"<|go|>": ["Hello", " world"]}, template=None)
    return path
