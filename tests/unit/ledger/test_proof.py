"""Proofs that are carried away, and what they do not prove."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.ledger import proof, upkeep
from tundish.ledger.digest import SaltedDigest, new_salt, salted_digest
from tundish.ledger.errors import NotSealedYet, ProofInvalid, ReceiptNotFound
from tundish.ledger.keys import rotated
from tundish.ledger.layout import ReceiptsFolder, segment_name
from tundish.ledger.proof import ConsistencyProof, InclusionProof
from tundish.ledger.search import find, find_all, latest
from tundish.ledger.verify import verify

from .logs import KEY, NOON_US, OTHER_KEY, OTHER_PUBLIC, PUBLIC, Log, receipt, sealed_log

SALT = b"0123456789abcdef"
ANSWER = b'{"answer":42}'


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = Log(tmp_path)
    for number in range(1, 12):
        log.append([receipt(number)])
    digests = {"request_digest": salted_digest(SALT, b"{}"), "answer_digest": salted_digest(SALT, ANSWER)}
    log.append([receipt(12, **digests)], salt=SALT)
    log.append([receipt(13)])
    log.seal()
    return log


def _prove(log: Log, request_id: str) -> InclusionProof:
    receipts = ReceiptsFolder(log.folder.parent)
    made = proof.prove_inclusion(receipts, find(receipts, request_id))
    read = proof.decode(msgspec.json.encode(made))
    assert isinstance(read, InclusionProof)
    return read


def test_every_receipt_can_be_proven(log: Log) -> None:
    for number in range(1, 14):
        assert proof.check(_prove(log, f"req-{number}"), [PUBLIC]) == []


def test_a_proof_is_of_one_answer(log: Log) -> None:
    made = _prove(log, "req-12")
    assert proof.check(made, [PUBLIC], answer=ANSWER, request=b"{}") == []
    (problem,) = proof.check(made, [PUBLIC], answer=ANSWER + b" ")
    assert "not the one that was receipted" in problem
    (problem,) = proof.check(made, [PUBLIC], request=ANSWER)
    assert problem.startswith("This request")


def test_without_its_salt_a_digest_says_nothing_and_the_log_still_verifies(log: Log) -> None:
    assert upkeep.erase_salt(log.folder.parent, "req-12") == 1
    made = _prove(log, "req-12")
    assert proof.check(made, [PUBLIC]) == []
    (problem,) = proof.check(made, [PUBLIC], answer=ANSWER)
    assert "erased" in problem
    assert verify(log.folder.parent, [PUBLIC]).ok
    with pytest.raises(ReceiptNotFound):
        upkeep.erase_salt(log.folder.parent, "req-99")


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_no_altered_proof_holds(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("proof")
    sealed_log(folder, 9)
    receipts = ReceiptsFolder(folder)
    content = bytearray(msgspec.json.encode(proof.prove_inclusion(receipts, find(receipts, "req-4"))))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    original = proof.prove_inclusion(receipts, find(receipts, "req-4"))
    try:
        altered = proof.decode(bytes(content))
    except ProofInvalid:
        return
    if altered != original:  # a hexadecimal digit in capitals is the same
        same = msgspec.json.encode(altered).lower() == msgspec.json.encode(original).lower()
        assert same or proof.check(altered, [PUBLIC])


def test_a_proof_of_another_key_does_not_hold(log: Log) -> None:
    (problem,) = proof.check(_prove(log, "req-1"), [OTHER_PUBLIC])
    assert PUBLIC in problem


def test_a_handed_over_key_is_followed(log: Log) -> None:
    log.append([rotated("log", KEY, OTHER_PUBLIC, NOON_US), receipt(14)])
    log.seal(OTHER_KEY)
    made = _prove(log, "req-1")
    assert proof.check(made, [PUBLIC]) == []
    assert proof.check(made, [OTHER_PUBLIC]) == []
    assert proof.check(msgspec.structs.replace(made, rotations=()), [PUBLIC])


def test_what_no_head_covers_cannot_be_proven_yet(log: Log) -> None:
    log.append([receipt(14)])
    with pytest.raises(NotSealedYet):
        _prove(log, "req-14")


def test_a_log_that_was_altered_proves_nothing(log: Log) -> None:
    path = log.folder / segment_name(0)
    path.write_bytes(path.read_bytes().replace(b'"req-5"', b'"req-x"'))
    with pytest.raises(ProofInvalid, match="altered"):
        _prove(log, "req-x")


def test_growth_is_proven(log: Log) -> None:
    receipts = ReceiptsFolder(log.folder.parent)
    old = _prove(log, "req-1").head
    log.append([receipt(20), receipt(21)])
    log.seal()
    made = proof.prove_consistency(receipts, old)
    assert proof.check(made, [PUBLIC]) == []
    read = proof.decode(msgspec.json.encode(made))
    assert isinstance(read, ConsistencyProof)
    assert (read.earlier.size, read.later.size) == (14, 16)
    assert proof.check(msgspec.structs.replace(read, earlier=read.later, later=read.earlier), [PUBLIC])
    assert proof.check(read, [PUBLIC], answer=b"")


def test_a_rewritten_log_cannot_prove_that_it_grew(tmp_path: Path) -> None:
    old = sealed_log(tmp_path / "first", 5)
    sealed_log(tmp_path / "second", 9, first=100)
    with pytest.raises(ProofInvalid, match="not the one of that head"):
        proof.prove_consistency(ReceiptsFolder(tmp_path / "second"), old)
    sealed_log(tmp_path / "third", 3)
    with pytest.raises(ProofInvalid, match="shorter"):
        proof.prove_consistency(ReceiptsFolder(tmp_path / "third"), old)
    with pytest.raises(ProofInvalid, match="not here"):
        proof.prove_consistency(ReceiptsFolder(tmp_path / "nothing"), old)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"proof":"inclusion"}', b"\xff"])
def test_what_is_no_proof_is_refused(content: bytes) -> None:
    with pytest.raises(ProofInvalid):
        proof.decode(content)


def test_the_salted_digest_is_hmac_and_grows() -> None:
    salt = new_salt()
    digest = SaltedDigest(salt)
    digest.update(b"an")
    digest.update(b"swer")
    assert digest.hexdigest() == hmac.new(salt, b"answer", hashlib.sha256).hexdigest()
    with pytest.raises(ValueError, match="16 bytes"):
        SaltedDigest(b"short")


def test_the_latest_come_first_whatever_their_log(tmp_path: Path) -> None:
    one, two = Log(tmp_path, "one"), Log(tmp_path, "two")
    for number in range(1, 7):
        (one if number % 2 else two).append([receipt(number)])
    shown = [held.receipt.request_id for _, held in latest(ReceiptsFolder(tmp_path)) if held.receipt]
    assert shown == [f"req-{number}" for number in range(6, 0, -1)]
    path = one.folder / segment_name(0)
    path.write_bytes(path.read_bytes() + b'{"index":')  # being written
    assert len(list(latest(ReceiptsFolder(tmp_path)))) == 6


def test_an_id_that_a_client_used_twice_finds_the_later_one(log: Log) -> None:
    log.append([receipt(99, request_id="req-3", outcome="cancelled")])
    receipts = ReceiptsFolder(log.folder.parent)
    assert len(find_all(receipts, "req-3")) == 2
    assert find(receipts, "req-3").receipt.outcome == "cancelled"


def test_a_receipt_is_found_across_the_blocks_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed_log(tmp_path, 30)
    for block in (1, 7, 300, 5000):
        monkeypatch.setattr("tundish.ledger.search._BLOCK_BYTES", block)
        assert find(ReceiptsFolder(tmp_path), "req-17").index == 17
        ids = [held.receipt.request_id for _, held in latest(ReceiptsFolder(tmp_path)) if held.receipt]
        assert ids == [f"req-{number}" for number in range(30, 0, -1)]


def test_the_index_only_makes_finding_quicker(tmp_path: Path) -> None:
    log = Log(tmp_path, segment_bytes=2000)
    long = "x" * 60
    for number in range(1, 21):
        log.append([receipt(number, request_id=f"{long}-{number}")])
    receipts = ReceiptsFolder(tmp_path)
    assert find(receipts, f"{long}-13").index == 13
    index = log.folder / "index"
    index.write_bytes(b"")
    assert find(receipts, f"{long}-13").index == 13
    index.unlink()
    assert find(receipts, f"{long}-13").index == 13
