"""What a receipt costs, and how many a second the ledger keeps up with.

    python benchmarks/ledger.py [--receipts 100000] [--folder DIR]

"on the loop" is what the caller of `record` waits for; "CPU" is everything: encoding, hashing, the tree, writing,
counting, and the two digests of a 700-byte request and its answer. At the end the log is verified.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import msgspec

from tundish.ledger.digest import new_salt, salted_digest
from tundish.ledger.ledger import Ledger
from tundish.ledger.receipt import Attempt, Receipt
from tundish.ledger.verify import verify

JUDGED = msgspec.Raw(
    msgspec.json.encode(
        [
            {"deployment": f"gpt-oss-{n}", "place": "device", "score": 0.71, "estimate_usd": 0.0001, "expected_s": 0.8}
            for n in range(3)
        ]
    )
)


def receipt(number: int) -> Receipt:
    """As a chat completion through a route of three deployments leaves it."""
    return Receipt(
        request_id=f"req-{number:032x}",
        arrived_us=1_763_000_000_000_000 + number * 150,
        surface="chat_completions",
        key_id="key-1",
        project="team",
        route="default",
        mode="balanced",
        data_class="internal",
        label_sources=("project=internal",),
        policy_version="a" * 64,
        table_version="b" * 64,
        judged=JUDGED,
        attempts=(
            Attempt(deployment="gpt-oss-1", place="device", outcome="ok", started_ms=0, ended_ms=40, first_token_ms=11),
        ),
        deployment="gpt-oss-1",
        place="device",
        model="gpt-oss-20b",
        model_hash="c" * 64,
        outcome="ok",
        prompt_tokens=100,
        completion_tokens=50,
        cost_nano_usd=45_000,
        baseline_nano_usd=400_000,
        duration_ms=40,
        first_token_ms=11,
        bytes_out=900,
        request_digest="d" * 64,
        answer_digest="e" * 64,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--receipts", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=10_000, help="receipts a second; 0: as fast as they come")
    parser.add_argument("--folder", type=Path, help="where to write; without it: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder) / "receipts", options.receipts, options.rate)


def measure(folder: Path, count: int, rate: int) -> None:
    """Record, then verify; prints what each took."""
    receipts = [receipt(number) for number in range(count)]
    salts = [new_salt() for _ in receipts]
    body = b"x" * 700
    began_s = time.process_time()
    for salt in salts:
        salted_digest(salt, body)
        salted_digest(salt, body)
    digests_us = (time.process_time() - began_s) / count * 1e6
    ledger = Ledger.open(folder)
    loop_s = 0.0
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for first in range(0, count, 100):
        at_s = time.perf_counter()
        for one, salt in zip(receipts[first : first + 100], salts[first : first + 100], strict=True):
            ledger.record(one, salt)
        loop_s += time.perf_counter() - at_s
        while rate and time.perf_counter() - began_s < first / rate:
            time.sleep(0.002)
    ledger.sync(60)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    public_key = ledger.public_key
    ledger.close()
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"record, on the loop   {loop_s / count * 1e6:7.2f} µs a receipt")
    print(f"CPU, all threads      {cpu_s / count * 1e6:7.2f} µs a receipt")
    print(f"two digests           {digests_us:7.2f} µs a receipt")
    print(f"kept up with          {(count - ledger.lost) / took_s:7.0f} receipts/s, {ledger.lost} lost")
    print(f"on disk               {size_bytes / count:7.0f} bytes a receipt")
    began_s = time.perf_counter()
    report = verify(folder, [public_key])
    assert report.ok
    print(f"verify                {(time.perf_counter() - began_s) / count * 1e6:7.2f} µs a receipt")


if __name__ == "__main__":
    main()
