"""Where a secret is kept. A configuration holds these and never the secrets themselves."""

from __future__ import annotations

import dataclasses
import enum
import re
import typing
from collections.abc import Mapping
from pathlib import Path


class Keeper(enum.Enum):
    """Who keeps it; the value is the key in the file."""

    ENVIRONMENT = "env"
    """`{ env = "AZURE_KEY" }`: an environment variable of the endpoint."""
    FILE = "file"
    """`{ file = "azure.key" }`: all of a file but the line end; relative to the configuration's folder."""
    KEYRING = "keyring"
    """`{ keyring = "service/user" }`: the operating system's; needs the extra `keyring`."""
    AZURE_KEY_VAULT = "azure_key_vault"
    """`{ azure_key_vault = "https://VAULT.vault.azure.net/secrets/NAME" }`; needs the extra `azure`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """One secret, by where it is kept."""

    keeper: Keeper
    name: str
    """The variable, the absolute path, `service/user`, or the address in the vault."""
    where: str = dataclasses.field(default="", compare=False)
    """`tundish.toml:12: deployments.cloud.auth.api_key`, for the message when it is missing."""

    def __str__(self) -> str:
        return f'{{ {self.keeper.value} = "{self.name}" }}'


def reference_from(value: object, *, folder: Path, where: str) -> SecretReference | str:
    """The reference that `value`, from a configuration, is; or what is wrong with it, without showing it: it may be
    the secret itself.

    Args:
        value: as TOML has it.
        folder: what paths of files start from.
        where: it stands, for messages that come later.
    """
    if not isinstance(value, Mapping):
        return f"A secret must not stand in the configuration. Say where it is kept: {_REFERENCES}."
    given = typing.cast("Mapping[str, object]", value)
    keeper = next((keeper for keeper in Keeper if len(given) == 1 and keeper.value in given), None)
    if keeper is None:
        return f"A reference to a secret has one key: {_REFERENCES}."
    name = given[keeper.value]
    if not isinstance(name, str) or not _KEPT_AT[keeper].fullmatch(name):
        return f"'{keeper.value}' must be {_EXPECTED[keeper]}."
    return SecretReference(keeper=keeper, name=str(folder / name) if keeper is Keeper.FILE else name, where=where)


_REFERENCES = '{ env = "VARIABLE" }, { file = "PATH" }, { keyring = "SERVICE/USER" } or { azure_key_vault = "URL" }'
_KEPT_AT = {
    Keeper.ENVIRONMENT: re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}"),
    Keeper.FILE: re.compile(r"[^\x00-\x1f]{1,4096}"),
    Keeper.KEYRING: re.compile(r"[^\x00-\x1f]{1,255}/[^\x00-\x1f/]{1,255}"),
    Keeper.AZURE_KEY_VAULT: re.compile(r"https://[A-Za-z0-9.:-]+/secrets/[A-Za-z0-9-]+(?:/[A-Za-z0-9]+)?"),
}
_EXPECTED = {  # what was given is not shown: it may be the secret itself
    Keeper.ENVIRONMENT: "the name of an environment variable: letters, digits and _",
    Keeper.FILE: "the path of a file",
    Keeper.KEYRING: "SERVICE/USER",
    Keeper.AZURE_KEY_VAULT: "https://VAULT.vault.azure.net/secrets/NAME",
}
