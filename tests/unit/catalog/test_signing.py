"""Ed25519: this machine's key, keys of others, signatures for one purpose."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tundish.catalog import signing
from tundish.catalog.signing import KeyFolder, SigningKeyInvalid
from tundish.core.errors import InvalidRequest

# RFC 8032, section 7.1, test 1: the secret key and its public key.
RFC_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_a_key_is_made_once_and_is_its_owners_alone(keys: KeyFolder, tmp_path: Path) -> None:
    first = signing.public_key_of(keys.own())
    assert signing.public_key_of(KeyFolder(tmp_path / "keys").own()) == first
    assert first.startswith("ed25519:")
    assert len(first) == len("ed25519:") + 43
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "keys/signing-key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["signing-key"]


def test_the_text_forms_are_the_rfcs_bytes(keys: KeyFolder, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/signing-key").write_text("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\n")
    own = keys.own()
    assert own.private_bytes_raw() == RFC_SECRET
    assert own.public_key().public_bytes_raw() == RFC_PUBLIC
    assert signing.public_key_of(own) == "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), bit=st.integers(min_value=0))
def test_a_signature_holds_for_its_key_purpose_and_content_only(keys: KeyFolder, content: bytes, bit: int) -> None:
    key = keys.own()
    public, signature = signing.public_key_of(key), signing.sign(key, "bundle", content)
    assert signing.verify(public, signature, "bundle", content)
    assert not signing.verify(public, signature, "bundl", content)
    assert not signing.verify(public, signature, "bundle", content + b"\0")
    other = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert not signing.verify(other, signature, "bundle", content)
    position, swap = bit % (len(signature) - 1), {"A": "B"}
    flipped = signature[:position] + swap.get(signature[position], "A") + signature[position + 1 :]
    assert not signing.verify(public, flipped, "bundle", content)


@pytest.mark.parametrize("signature", ["", "A", "ü", "=" * 86, "A" * 85, "A" * 87, " " * 86])
def test_what_is_no_signature_does_not_hold(keys: KeyFolder, signature: str) -> None:
    assert not signing.verify(signing.public_key_of(keys.own()), signature, "bundle", b"")


@pytest.mark.parametrize(
    "public", ["", "ed25519:", "rsa:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "ed25519:short", "ed25519:ü" * 20]
)
def test_what_is_no_public_key_is_refused(keys: KeyFolder, public: str) -> None:
    with pytest.raises(InvalidRequest, match="not a public key"):
        keys.trust(public)
    with pytest.raises(InvalidRequest, match="not a public key"):
        signing.verify(public, "A" * 86, "bundle", b"")


def test_trust_is_given_by_a_file_and_taken_back_with_it(keys: KeyFolder, tmp_path: Path) -> None:
    stranger = signing.public_key_of(KeyFolder(tmp_path / "elsewhere").own())
    assert not keys.trusts(stranger)
    file = keys.trust(stranger)
    assert keys.trusts(stranger)
    assert not keys.trusts(stranger[:-1])
    file.unlink()
    assert not keys.trusts(stranger)
    assert keys.trusts(signing.public_key_of(keys.own()))


def test_asking_whom_to_trust_makes_no_key(keys: KeyFolder, tmp_path: Path) -> None:
    assert not keys.trusts("ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff" * 43, b"A" * 43 + b"\n" + b"B"])
def test_a_damaged_key_is_told_not_replaced(keys: KeyFolder, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/signing-key").write_bytes(content)
    with pytest.raises(SigningKeyInvalid, match="Restore it, or delete it"):
        keys.own()
    assert (tmp_path / "keys/signing-key").read_bytes() == content
