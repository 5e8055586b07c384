"""Secrets are fetched late, and never shown."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from tundish.config.errors import SecretUnavailable
from tundish.config.secret_reference import Keeper, SecretReference
from tundish.config.secrets import resolve


def reference(keeper: Keeper, name: str) -> SecretReference:
    return SecretReference(keeper=keeper, name=name, where="tundish.toml:7: keys.k.key")


def test_environment() -> None:
    secret = resolve(reference(Keeper.ENVIRONMENT, "A"), {"A": "hunter2\n"})
    assert secret.reveal() == "hunter2"
    assert "hunter2" not in f"{secret} {secret!r}"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, 'tundish.toml:7: keys.k.key: { env = "A" }: the environment variable A is not set.'),
        ({"A": " "}, 'tundish.toml:7: keys.k.key: { env = "A" }: it is empty.'),
        ({"A": "one\ntwo"}, 'tundish.toml:7: keys.k.key: { env = "A" }: it has several lines'),
    ],
)
def test_missing(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SecretUnavailable) as caught:
        resolve(reference(Keeper.ENVIRONMENT, "A"), environment)
    assert str(caught.value).startswith(message)
    assert "two" not in str(caught.value)


def test_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xef\xbb\xbfhunter2\r\n")
    path.chmod(0o600)
    assert resolve(reference(Keeper.FILE, str(path)), {}).reveal() == "hunter2"
    assert not caplog.records


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_a_file_that_others_may_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key"
    path.write_text("hunter2")
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        resolve(reference(Keeper.FILE, str(path)), {})
    assert "chmod 600" in caplog.text
    assert "hunter2" not in caplog.text


def test_files_that_hold_none(tmp_path: Path) -> None:
    cases = {"missing": None, "empty": b"\n", "binary": b"\xff\xfe", "large": b"x" * 70_000}
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SecretUnavailable, match=r"keys\.k\.key"):
            resolve(reference(Keeper.FILE, str(tmp_path / name)), {})


def test_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    backend = pytest.importorskip("keyring.backend")

    class Ring(backend.KeyringBackend):  # the library's own way to add one
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return "hunter2" if (service, username) == ("tundish/azure", "key") else None

        def set_password(self, service: str, username: str, password: str) -> None: ...

        def delete_password(self, service: str, username: str) -> None: ...

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        assert resolve(reference(Keeper.KEYRING, "tundish/azure/key"), {}).reveal() == "hunter2"
        with pytest.raises(SecretUnavailable, match="keyring set tundish other"):
            resolve(reference(Keeper.KEYRING, "tundish/other"), {})
    finally:
        keyring.set_keyring(before)


def test_a_keyring_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SecretUnavailable, match=r"pip install 'tundish\[keyring\]'"):
        resolve(reference(Keeper.KEYRING, "a/b"), {})


def test_vault() -> None:
    asked: list[tuple[str, str, str | None]] = []

    def fetch(vault: str, name: str, version: str | None) -> str:
        asked.append((vault, name, version))
        return "hunter2"

    def resolved(address: str) -> str:
        return resolve(reference(Keeper.AZURE_KEY_VAULT, address), {}, fetch_from_vault=fetch).reveal()

    assert resolved("https://v.vault.azure.net/secrets/groq") == "hunter2"
    assert resolved("https://v.vault.azure.net/secrets/groq/0af3") == "hunter2"
    assert asked == [("https://v.vault.azure.net", "groq", None), ("https://v.vault.azure.net", "groq", "0af3")]


def test_a_vault_that_fails() -> None:
    def fetch(vault: str, name: str, version: str | None) -> str:
        raise ConnectionError("no route\nwith details")

    with pytest.raises(SecretUnavailable, match=r"the vault did not give it \(ConnectionError: no route\)"):
        resolve(reference(Keeper.AZURE_KEY_VAULT, "https://v/secrets/n"), {}, fetch_from_vault=fetch)
