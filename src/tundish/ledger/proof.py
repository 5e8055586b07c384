"""Proofs to carry away: that a receipt is in a log (inclusion), that a log only grew since a head (consistency).

A proof is one small JSON file. Checking it needs the public key and nothing else of ours.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import msgspec

from tundish.ledger import keys, layout, leaf
from tundish.ledger.digest import SALT_BYTES, salted_digest
from tundish.ledger.errors import NotSealedYet, ProofInvalid
from tundish.ledger.head import Head
from tundish.ledger.layout import Receipts
from tundish.ledger.leaf import Rotated
from tundish.ledger.merkle import consistency_path, inclusion_path, is_consistent, leaf_hash, root_from_inclusion
from tundish.ledger.receipt import Receipt
from tundish.ledger.search import Found, matching


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="inclusion", tag_field="proof"):
    """This receipt is in the log that the head signs."""

    head: Head
    index: int
    leaf: str
    """The line, exactly."""
    path: tuple[str, ...]
    """RFC 9162, section 2.1.3; hexadecimal."""
    rotations: tuple[Rotated, ...] = ()
    """How the key came to the one that signs the head."""
    salt: str = ""
    """Hexadecimal; empty if it was erased: then the digests mean nothing to anybody any more."""


class ConsistencyProof(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="consistency", tag_field="proof"
):
    """The log of the later head begins with all that was in the log of the earlier one."""

    earlier: Head
    later: Head
    path: tuple[str, ...]
    """RFC 9162, section 2.1.4; hexadecimal."""
    rotations: tuple[Rotated, ...] = ()


Proof: TypeAlias = InclusionProof | ConsistencyProof

_decoder: msgspec.json.Decoder[Proof] = msgspec.json.Decoder(InclusionProof | ConsistencyProof)


def decode(content: bytes) -> Proof:
    """A proof from its file.

    Raises:
        ProofInvalid: it is none.
    """
    try:
        return _decoder.decode(content)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProofInvalid(f"This is not a proof as `tundish receipts prove` writes it: {error}") from None


def prove_inclusion(receipts: Receipts, found: Found) -> InclusionProof:
    """That a receipt is in its log. Reads the log's index.

    Raises:
        NotSealedYet: no head covers it yet.
        ProofInvalid: the index was altered; `verify` says more.
        OSError: the log cannot be read.
    """
    head = _last_head(receipts, found.log)
    if head is None or head.size <= found.index:
        raise NotSealedYet(
            "The receipt is written, but no signed head covers it yet. A running endpoint signs once a second; after a "
            "crash, the next start signs what was left."
        )
    hashes, _ = layout.leaf_hashes(receipts, found.log)
    salt = layout.salt_of(receipts, found.log, found.index)
    proof = InclusionProof(
        head=head,
        index=found.index,
        leaf=found.line.decode(),
        path=tuple(node.hex() for node in inclusion_path(found.index, hashes[: head.size])),
        rotations=_rotations(receipts, found.log),
        salt="" if salt is None else salt.hex(),
    )
    if _inclusion_problem(proof) is not None:
        raise ProofInvalid(
            "The log does not lead to its own head: it was altered. `tundish receipts verify` says where."
        )
    return proof


def prove_consistency(receipts: Receipts, earlier: Head) -> ConsistencyProof:
    """That a log only grew since `earlier`. Reads the log's index.

    Raises:
        ProofInvalid: it did not, or is not here.
        OSError: the log cannot be read.
    """
    later = _last_head(receipts, earlier.log) if earlier.log in receipts.logs() else None
    if later is None:
        raise ProofInvalid(f"The log {earlier.log} is not here, or has no head.")
    hashes, _ = layout.leaf_hashes(receipts, earlier.log)
    if not 1 <= earlier.size <= later.size <= len(hashes):
        raise ProofInvalid(f"The log {earlier.log} is shorter now: it had {earlier.size} leaves, and has {later.size}.")
    proof = ConsistencyProof(
        earlier=earlier,
        later=later,
        path=tuple(node.hex() for node in consistency_path(earlier.size, hashes[: later.size])),
        rotations=_rotations(receipts, earlier.log),
    )
    if _consistency_problem(proof) is not None:
        raise ProofInvalid(f"The log {earlier.log} is not the one of that head any more. `verify --head` says more.")
    return proof


def check(
    proof: Proof, public_keys: Collection[str], *, answer: bytes | None = None, request: bytes | None = None
) -> list[str]:
    """What is wrong with a proof, in sentences; empty if it holds.

    `answer`, `request`: the body bytes that the client has, to be compared with what was receipted.
    """
    heads = (proof.head,) if isinstance(proof, InclusionProof) else (proof.earlier, proof.later)
    problems: list[str] = []
    for head in heads:
        if not head.is_genuine():
            problems.append("The head's signature does not fit: the proof was altered.")
        elif not _is_trusted(head, proof.rotations, public_keys):
            problems.append(f"The head is signed by {head.key}, which is not the key that was given.")
    problem = _inclusion_problem(proof) if isinstance(proof, InclusionProof) else _consistency_problem(proof)
    if problem is not None:
        problems.append(problem)
    if isinstance(proof, InclusionProof):
        problems += _body_problems(proof, answer=answer, request=request)
    elif answer is not None or request is not None:
        problems.append("A proof of consistency is about a log, not about an answer.")
    return problems


def receipt_of(proof: InclusionProof) -> Receipt | None:
    """The receipt that is proven; None if the leaf is none."""
    held = leaf.decode(proof.leaf.encode())
    return None if held is None else held.receipt


def _body_problems(proof: InclusionProof, *, answer: bytes | None, request: bytes | None) -> list[str]:
    given = [(what, body) for what, body in (("answer", answer), ("request", request)) if body is not None]
    receipt = receipt_of(proof)
    if not given or receipt is None:
        return [] if not given else ["The leaf is no receipt."]
    try:
        salt = bytes.fromhex(proof.salt)
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        return ["The receipt's salt was erased: nobody can tell any more which answer it is about."]
    digests = {"answer": receipt.answer_digest, "request": receipt.request_digest}
    return [
        f"This {what} is not the one that was receipted: {len(body)} bytes with another digest."
        for what, body in given
        if salted_digest(salt, body) != digests[what]
    ]


def _inclusion_problem(proof: InclusionProof) -> str | None:
    content = proof.leaf.encode("utf-8", "replace")
    held = leaf.decode(content)
    if held is None or held.index != proof.index:
        return "The leaf is not a receipt of that place in the log."
    root = root_from_inclusion(leaf_hash(content), proof.index, proof.head.size, _raw(proof.path))
    return None if root is not None and root.hex() == proof.head.root else "The receipt is not in the log of that head."


def _consistency_problem(proof: ConsistencyProof) -> str | None:
    earlier, later = proof.earlier, proof.later
    if earlier.log != later.log:
        return "The heads are of two different logs."
    old, new = _raw((earlier.root, later.root))
    if is_consistent(earlier.size, old, later.size, new, _raw(proof.path)):
        return None
    return "The log did not only grow between the two heads: something before the earlier one is not as it was."


def _raw(hashes: Collection[str]) -> list[bytes]:
    raw: list[bytes] = []
    for text in hashes:
        try:
            raw.append(bytes.fromhex(text))
        except ValueError:
            raw.append(b"")
    return raw


def _is_trusted(head: Head, rotations: Collection[Rotated], public_keys: Collection[str]) -> bool:
    """Whether a given key signed the head, or signed over, step by step, to the one that did."""
    reached = set(public_keys)
    for rotation in rotations:
        if rotation.old in reached and keys.is_genuine(head.log, rotation):
            reached.add(rotation.new)
    return head.key in reached


def _last_head(receipts: Receipts, log: str) -> Head | None:
    seal = layout.last_seal(receipts, log)
    return None if seal is None else seal.head


def _rotations(receipts: Receipts, log: str) -> tuple[Rotated, ...]:
    found = matching(receipts, log, b'"rotated":{', layout.segments(receipts, log))
    return tuple(held.rotated for _, held in found if held.rotated is not None)
