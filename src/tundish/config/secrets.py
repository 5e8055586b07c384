"""Fetches secrets from where they are kept: late, on the endpoint's own machine, and never into a log."""

from __future__ import annotations

import logging
import stat
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path

from tundish.config.errors import SecretUnavailable
from tundish.config.secret_reference import Keeper, SecretReference
from tundish.core.secret import Secret

_log = logging.getLogger("tundish.secrets")

_MOST_BYTES = 65_536

FetchFromVault = Callable[[str, str, "str | None"], str]
"""Vault's address, secret's name, its version or None for the newest → the secret; may raise anything."""


def resolve(
    reference: SecretReference, environment: Mapping[str, str], *, fetch_from_vault: FetchFromVault | None = None
) -> Secret:
    """The secret that `reference` stands for. Blocks (files, the keyring, a vault): call it in a thread.

    Args:
        reference: where it is kept.
        environment: the variables of this process.
        fetch_from_vault: how a vault is asked; None is with the identity that azure-identity finds.

    Raises:
        SecretUnavailable: it cannot be had; names the reference, its line and the reason.
    """
    try:
        if reference.keeper is Keeper.ENVIRONMENT:
            value = _from_environment(reference.name, environment)
        elif reference.keeper is Keeper.FILE:
            value = _from_file(Path(reference.name))
        elif reference.keeper is Keeper.KEYRING:
            value = _from_keyring(reference.name)
        else:
            value = _from_vault(reference.name, fetch_from_vault or _ask_vault)
    except _NotThere as error:
        raise SecretUnavailable(f"{reference.where}: {reference}: {error}") from None
    if not value:
        raise SecretUnavailable(f"{reference.where}: {reference}: it is empty.")
    if not value.isprintable():
        raise SecretUnavailable(
            f"{reference.where}: {reference}: it has several lines or control characters, which no key has."
        )
    return Secret(value)


class _NotThere(Exception):
    """Why; a sentence without the secret."""


def _from_environment(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name)
    if value is None:
        raise _NotThere(f"the environment variable {name} is not set.")
    return value.strip()


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
            mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _NotThere(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if sys.platform != "win32" and mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        _log.warning("%s holds a secret that others on this machine may read or replace: chmod 600 it.", path)
    if len(content) > _MOST_BYTES:
        raise _NotThere(f"{path} is larger than {_MOST_BYTES} bytes; it holds something else.")
    try:
        return content.decode("utf-8").removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        raise _NotThere(f"{path} is not UTF-8 text.") from None


def _from_keyring(name: str) -> str:
    service, _, user = name.rpartition("/")
    try:
        import keyring
    except ImportError:
        raise _NotThere("reading the keyring needs an extra: pip install 'tundish[keyring]'.") from None
    try:
        value = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001 - each system's keyring has errors of its own
        raise _NotThere(f"the keyring cannot be read ({type(error).__name__}: {error}).") from None
    if value is None:
        raise _NotThere(f"the keyring has none. Put it there: keyring set {service} {user}")
    return value.strip()


def _from_vault(address: str, fetch: FetchFromVault) -> str:
    parts = urllib.parse.urlsplit(address)
    _, _, name, *version = parts.path.split("/")
    try:
        return fetch(f"{parts.scheme}://{parts.netloc}", name, version[0] if version else None).strip()
    except _NotThere:
        raise
    except Exception as error:  # noqa: BLE001 - the libraries' own, and the network's
        first_line = str(error).strip().splitlines()[:1]
        reason = f"{type(error).__name__}: {''.join(first_line)[:200]}"
        raise _NotThere(f"the vault did not give it ({reason}).") from None


def _ask_vault(vault: str, name: str, version: str | None) -> str:
    try:
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.secrets import SecretClient
    except ImportError:
        raise _NotThere("reading a key vault needs an extra: pip install 'tundish[azure]'.") from None
    with DefaultAzureCredential() as credential, SecretClient(vault_url=vault, credential=credential) as client:
        return client.get_secret(name, version).value or ""
