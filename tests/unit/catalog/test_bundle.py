"""Bundles: what was exported comes back, and nothing else comes in."""

from __future__ import annotations

import io
import random
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tundish.catalog import bundle, signing
from tundish.catalog import manifest as manifests
from tundish.catalog.cache import Cache
from tundish.catalog.card import ModelKey
from tundish.catalog.errors import (
    BundleInvalid,
    CacheUnavailable,
    DiskFull,
    ModelBusy,
    ModelDamaged,
    SignerUnknown,
)
from tundish.catalog.manifest import HashBasis, Manifest
from tundish.catalog.signing import KeyFolder
from tundish.core.clock import FixedClock

KEY = ModelKey("test", "noise", "q8-gguf")


@pytest.fixture
def exported(place, keys: KeyFolder, tmp_path: Path) -> Path:
    path = tmp_path / "noise.tundish"
    bundle.export(place(), path, keys)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Cache:
    """Another machine's models folder."""
    return Cache(tmp_path / "elsewhere")


@pytest.fixture
def import_it(elsewhere: Cache, keys: KeyFolder, clock: FixedClock) -> Callable[..., object]:
    def do(path: Path, **options: object) -> object:
        return bundle.import_bundle(path, elsewhere, keys, clock, **options)

    return do


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as archive:
        return [(info, archive.extractfile(info).read()) for info in archive]


def rewrite(path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.GNU_FORMAT) -> Path:  # noqa: A002
    with tarfile.open(path, "w", format=format) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return path


def entry(name: str, content: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, content


def signed(keys: KeyFolder, document: bytes) -> bytes:
    key = keys.own()
    signature = {
        "algorithm": "ed25519",
        "public_key": signing.public_key_of(key),
        "signature": signing.sign(key, "tundish bundle 1", document),
    }
    return msgspec.json.encode(signature)


def forged(path: Path, keys: KeyFolder, change: Callable[[dict[str, object]], None]) -> Path:
    """The bundle with another manifest, signed by a key that is trusted."""
    (_, content), _, *files = members(path)
    document = msgspec.json.decode(content)
    change(document)
    content = msgspec.json.encode(document)
    return rewrite(path, [entry("manifest.json", content), entry("signature.json", signed(keys, content)), *files])


def assert_nothing_came(cache: Cache) -> None:
    contents = cache.contents()
    assert (contents.models, contents.unreadable, contents.partial) == ((), (), {})
    assert not list(cache.root.rglob("*.gguf"))


def test_what_was_exported_comes_back(exported: Path, import_it, elsewhere: Cache, cache: Cache) -> None:
    model = import_it(exported)
    assert not elsewhere.verify(model)
    assert model.weights.read_bytes() == cache.find(KEY).weights.read_bytes()
    assert {file.basis for file in model.manifest.files} == {HashBasis.BUNDLE}
    assert model.manifest.origin.startswith("bundle signed by ed25519:")
    assert not elsewhere.contents().partial
    assert import_it(exported) == model


def test_any_tar_can_list_a_bundle(exported: Path) -> None:
    assert [info.name for info, _ in members(exported)] == [
        "manifest.json", "signature.json", "files/model.gguf", "files/tokenizer/vocabulary.json",
    ]  # fmt: skip
    manifest, signer = bundle.inspect(exported)
    assert manifest.key == KEY
    assert signer.startswith("ed25519:")


def test_nothing_of_this_machine_is_in_it(place, keys: KeyFolder, tmp_path: Path, cache: Cache) -> None:
    model = place()
    outside = tmp_path / "secret-folder.gguf"
    model.weights.rename(outside)
    files = (msgspec.structs.replace(model.manifest.files[0], location=str(outside)), *model.manifest.files[1:])
    manifest = msgspec.structs.replace(model.manifest, files=files)
    (model.folder / "manifest.json").write_bytes(manifests.encode(manifest))
    path = tmp_path / "noise.tundish"
    bundle.export(cache.find(KEY), path, keys)
    assert b"secret-folder" not in path.read_bytes()


def test_a_strangers_bundle_is_refused_until_its_key_is_trusted(
    exported: Path, elsewhere: Cache, clock: FixedClock, tmp_path: Path
) -> None:
    theirs = KeyFolder(tmp_path / "their-keys")
    with pytest.raises(SignerUnknown, match="--trust ed25519:") as caught:
        bundle.import_bundle(exported, elsewhere, theirs, clock)
    with pytest.raises(SignerUnknown):
        bundle.import_bundle(exported, elsewhere, theirs, clock, trust="ed25519:somebody-else")
    assert_nothing_came(elsewhere)
    bundle.import_bundle(exported, elsewhere, theirs, clock, trust=caught.value.public_key)
    elsewhere.remove(KEY)
    bundle.import_bundle(exported, elsewhere, theirs, clock)


def test_a_flipped_bit_anywhere_is_noticed(exported: Path, import_it, elsewhere: Cache) -> None:
    content = exported.read_bytes()
    chance = random.Random(1)
    for position in sorted(chance.sample(range(len(content)), 150)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << chance.randrange(8)
        exported.write_bytes(damaged)
        with pytest.raises(BundleInvalid):
            import_it(exported)
        assert_nothing_came(elsewhere)


def test_a_bundle_that_is_cut_off_anywhere_is_noticed(exported: Path, import_it, elsewhere: Cache) -> None:
    content = exported.read_bytes()
    for length in sorted({*range(0, len(content), 512), 1, 511, 600, len(content) - 1}):
        exported.write_bytes(content[:length])
        with pytest.raises(BundleInvalid):
            import_it(exported)
        assert_nothing_came(elsewhere)


def test_more_than_the_manifest_says_is_refused(exported: Path, import_it, elsewhere: Cache) -> None:
    rewrite(exported, [*members(exported), entry("files/extra", b"x")])
    with pytest.raises(BundleInvalid, match="more in it"):
        import_it(exported)
    assert_nothing_came(elsewhere)


def test_a_missing_file_is_noticed(exported: Path, import_it, elsewhere: Cache) -> None:
    rewrite(exported, members(exported)[:-1])
    with pytest.raises(BundleInvalid, match=r"vocabulary\.json"):
        import_it(exported)
    assert_nothing_came(elsewhere)


def test_files_in_another_order_are_refused(exported: Path, import_it, elsewhere: Cache) -> None:
    manifest, signature, *files = members(exported)
    rewrite(exported, [manifest, signature, *reversed(files)])
    with pytest.raises(BundleInvalid, match="where"):
        import_it(exported)
    assert_nothing_came(elsewhere)


@pytest.mark.parametrize(
    "path", ["../../../outside", "/tmp/outside", "a/../../outside", "C:/outside", "..\\outside", "con"]
)
def test_a_path_that_climbs_out_is_refused_even_if_signed(
    exported: Path, keys: KeyFolder, import_it, elsewhere: Cache, path: str, tmp_path: Path
) -> None:
    def change(document) -> None:
        document["files"][0]["path"] = path

    forged(exported, keys, change)
    with pytest.raises(BundleInvalid, match="manifest"):
        import_it(exported)
    assert_nothing_came(elsewhere)
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("name", ["../../outside", "/outside", "files/../../outside", "files/./model.gguf"])
def test_a_name_in_the_archive_that_climbs_out_is_refused(exported: Path, import_it, tmp_path: Path, name: str) -> None:
    manifest, signature, (_, content), last = members(exported)
    rewrite(exported, [manifest, signature, entry(name, content), last])
    with pytest.raises(BundleInvalid, match="must be"):
        import_it(exported)
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(exported: Path, import_it, elsewhere: Cache, kind: bytes) -> None:
    manifest, signature, _, last = members(exported)
    link = entry("files/model.gguf", type=kind, linkname="/etc/passwd")
    rewrite(exported, [manifest, signature, link, last])
    with pytest.raises(BundleInvalid):
        import_it(exported)
    assert_nothing_came(elsewhere)


def test_extended_headers_are_refused(exported: Path, import_it, elsewhere: Cache) -> None:
    manifest, signature, (info, content), last = members(exported)
    info.pax_headers = {"path": "../../outside"}
    rewrite(exported, [manifest, signature, (info, content), last], format=tarfile.PAX_FORMAT)
    with pytest.raises(BundleInvalid):
        import_it(exported)
    assert_nothing_came(elsewhere)


def test_enormous_sizes_are_refused_before_anything_is_read(
    exported: Path, keys: KeyFolder, import_it, elsewhere: Cache
) -> None:
    def change(document) -> None:
        document["files"][0]["size_bytes"] = 10**18

    content = exported.read_bytes()
    with pytest.raises(DiskFull, match="GB are needed"):
        import_it(forged(exported, keys, change))
    for name in ("manifest.json", "signature.json"):
        exported.write_bytes(content)
        entries = [e if e[0].name != name else entry(name, b" " * (9 * 1024 * 1024)) for e in members(exported)]
        with pytest.raises(BundleInvalid, match="larger than"):
            import_it(rewrite(exported, entries))
    assert_nothing_came(elsewhere)


def test_a_size_that_is_not_the_manifests_is_refused(exported: Path, import_it, elsewhere: Cache) -> None:
    manifest, signature, (_, content), last = members(exported)
    rewrite(exported, [manifest, signature, entry("files/model.gguf", content + b"x"), last])
    with pytest.raises(BundleInvalid, match="must have"):
        import_it(exported)
    assert_nothing_came(elsewhere)


def test_a_signed_manifest_may_not_point_outside_of_the_bundle(
    exported: Path, keys: KeyFolder, import_it, elsewhere: Cache
) -> None:
    def change(document) -> None:
        document["files"][0]["location"] = "/etc/passwd"

    with pytest.raises(BundleInvalid, match="outside of itself"):
        import_it(forged(exported, keys, change))
    assert_nothing_came(elsewhere)


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        (b"", "cannot be read|cut off|no signature"),
        (b"{}", "no signature"),
        (b'{"public_key":"rsa:x","signature":"x"}', "no signature"),
        (b'{"public_key":"ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","signature":"x"}', "is wrong"),
        (b'{"algorithm":"none","public_key":"","signature":""}', "no signature"),
        (b"\xff", "no signature"),
    ],
)
def test_a_wrong_signature_is_refused(exported: Path, import_it, elsewhere: Cache, signature: bytes, told: str) -> None:
    manifest, _, *files = members(exported)
    rewrite(exported, [manifest, entry("signature.json", signature), *files])
    with pytest.raises(BundleInvalid, match=told):
        import_it(exported)
    assert_nothing_came(elsewhere)


def test_a_signature_of_another_bundle_is_wrong(
    exported: Path, place, make_card, keys: KeyFolder, import_it, elsewhere: Cache, tmp_path: Path
) -> None:
    other = tmp_path / "other.tundish"
    bundle.export(place(make_card("other")), other, keys)
    manifest, _, *files = members(exported)
    rewrite(exported, [manifest, members(other)[1], *files])
    with pytest.raises(BundleInvalid, match=r"signature of .* is wrong"):
        import_it(exported)
    assert_nothing_came(elsewhere)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(600), b"\0" * 2048, b"GGUF" * 300, b"x" * 511])
def test_what_is_no_bundle(tmp_path: Path, import_it, content: bytes) -> None:
    path = tmp_path / "what.tundish"
    path.write_bytes(content)
    with pytest.raises(BundleInvalid, match="not a bundle, or cut off"):
        import_it(path)


def test_a_bundle_that_is_not_there(tmp_path: Path, import_it) -> None:
    with pytest.raises(BundleInvalid, match="cannot be read"):
        import_it(tmp_path / "absent.tundish")
    with pytest.raises(BundleInvalid, match="cannot be read"):
        bundle.inspect(tmp_path / "absent.tundish")
    with pytest.raises(BundleInvalid, match="cannot be read"):
        import_it(tmp_path)


def test_random_bytes_after_the_magic_never_do_anything_but_fail(tmp_path: Path, import_it, elsewhere: Cache) -> None:
    chance = random.Random(5)
    path = tmp_path / "noise.tundish"
    good = tarfile.TarInfo("manifest.json")
    for _ in range(300):
        good.size = chance.choice([0, 1, 100, 8**11 - 1])
        header = bytearray(good.tobuf(tarfile.GNU_FORMAT))
        for _ in range(chance.randrange(4)):
            header[chance.randrange(512)] = chance.randrange(256)
        path.write_bytes(bytes(header) + chance.randbytes(chance.randrange(2000)))
        with pytest.raises(BundleInvalid):
            import_it(path)
    assert_nothing_came(elsewhere)


def test_a_damaged_model_is_not_exported(place, keys: KeyFolder, tmp_path: Path) -> None:
    model = place()
    target = tmp_path / "noise.tundish"
    good = model.weights.read_bytes()
    for damaged in (good[:-1], good + b"x", b"X" + good[1:]):
        model.weights.write_bytes(damaged)
        with pytest.raises(ModelDamaged, match="not exported"):
            bundle.export(model, target, keys)
    assert not list(tmp_path.glob("*.tundish*"))
    assert not list(tmp_path.glob(".*tundish*"))


def test_a_bundle_that_cannot_be_written(place, keys: KeyFolder, tmp_path: Path) -> None:
    with pytest.raises(CacheUnavailable, match="absent"):
        bundle.export(place(), tmp_path / "absent/noise.tundish", keys)


def test_an_import_while_another_process_is_at_it(exported: Path, import_it, elsewhere: Cache) -> None:
    with elsewhere.locked(KEY), pytest.raises(ModelBusy):
        import_it(exported)


def test_an_import_replaces_a_damaged_model(exported: Path, import_it, elsewhere: Cache) -> None:
    model = import_it(exported)
    (model.folder / "manifest.json").write_text("{")
    assert not elsewhere.verify(import_it(exported))
    model.weights.unlink()
    assert not elsewhere.verify(import_it(exported))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_somebody_left_in_staging_are_not_followed(
    exported: Path, import_it, elsewhere: Cache, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    files = elsewhere.root / ".staging/test@noise@q8-gguf/files"
    files.mkdir(parents=True)
    (files / "tokenizer").symlink_to(outside)
    (files / "model.gguf").symlink_to(outside / "target")
    assert not elsewhere.verify(import_it(exported))
    assert not list(outside.iterdir())


def test_an_empty_file_travels(place, keys: KeyFolder, import_it, elsewhere: Cache, tmp_path: Path) -> None:
    path = tmp_path / "noise.tundish"
    bundle.export(place(files={"model.gguf": b"GGUF", "empty.txt": b""}), path, keys)
    model = import_it(path)
    assert not elsewhere.verify(model)
    assert isinstance(model.manifest, Manifest)
