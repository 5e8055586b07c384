"""Settings come from flags, then the environment, then defaults; a mistake is told, a secret is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tundish import settings
from tundish.settings import InvalidSetting, Secret


def test_defaults_listen_on_loopback_with_a_key() -> None:
    loaded = settings.load({})
    assert loaded.is_loopback
    assert loaded.auth
    assert loaded.models == ("gpt-oss-nano",)


def test_the_environment_is_read_and_a_flag_wins() -> None:
    environment = {"TUNDISH_SLOTS": "8", "TUNDISH_QUEUE_LIMIT": "3", "TUNDISH_MODELS": "a.gguf, b.gguf", "HOME": "/x"}
    loaded = settings.load(environment, {"slots": 2, "queue_limit": None})
    assert (loaded.slots, loaded.queue_limit, loaded.models) == (2, 3, ("a.gguf", "b.gguf"))


def test_an_unknown_variable_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidSetting, match=r"TUNDISH_SLOT is not a setting.*TUNDISH_SLOTS"):
        settings.load({"TUNDISH_SLOT": "8"})


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("TUNDISH_PORT", "http", "whole number"),
        ("TUNDISH_PORT", "70000", "0 to 65535"),
        ("TUNDISH_SLOTS", "0", "1 to 256"),
        ("TUNDISH_AUTH", "maybe", "true or false"),
        ("TUNDISH_DRAIN_S", "soon", "a number"),
        ("TUNDISH_API_KEY", "short", "8 printable"),
        ("TUNDISH_API_KEY", "with spaces in it", "8 printable"),
        ("TUNDISH_MODELS", " , ", "at least one model"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_right(variable: str, value: str, told: str) -> None:
    with pytest.raises(InvalidSetting, match=told):
        settings.load({variable: value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_beyond_loopback_a_key_is_required(host: str) -> None:
    with pytest.raises(InvalidSetting, match="TUNDISH_API_KEY"):
        settings.load({}, {"host": host})
    with pytest.raises(InvalidSetting, match="auth cannot be turned off"):
        settings.load({"TUNDISH_API_KEY": "long-enough"}, {"host": host, "auth": False})
    assert settings.load({"TUNDISH_API_KEY": "long-enough"}, {"host": host}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_may_go_without(host: str) -> None:
    assert not settings.load({}, {"host": host, "auth": False}).auth


def test_a_secret_never_shows_itself() -> None:
    loaded = settings.load({"TUNDISH_API_KEY": "correct-horse-battery"})
    assert isinstance(loaded.api_key, Secret)
    assert loaded.api_key.reveal() == "correct-horse-battery"
    for shown in (repr(loaded), str(loaded), f"{loaded.api_key}", repr(loaded.api_key)):
        assert "horse" not in shown
    with pytest.raises(InvalidSetting) as caught:
        settings.load({"TUNDISH_API_KEY": "horse h"})
    assert "horse" not in str(caught.value)


def test_the_documentation_is_not_stale() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings.documentation(), "run: python scripts/build_docs.py"


def test_workers_need_a_site_whose_models_run_elsewhere() -> None:
    site = {"TUNDISH_WORKERS": "2", "TUNDISH_CONFIG": "tundish.toml"}
    if sys.platform == "win32":
        with pytest.raises(InvalidSetting, match="1 on Windows"):
            settings.load(site)
        return
    assert settings.load(site).workers == 2
    with pytest.raises(InvalidSetting, match="config"):
        settings.load({"TUNDISH_WORKERS": "2"})
    with pytest.raises(InvalidSetting, match="models"):
        settings.load({**site, "TUNDISH_MODELS": "a.gguf"})
    with pytest.raises(InvalidSetting, match="1 to 64"):
        settings.load({**site, "TUNDISH_WORKERS": "65"})
