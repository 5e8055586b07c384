"""A process that records receipts as fast as it can, and says how many are written; for others to kill.

python writing_process.py FOLDER PREFIX [FILE_LIMIT_BYTES]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tundish.ledger.digest import new_salt
from tundish.ledger.ledger import Ledger, Timing
from tundish.ledger.receipt import Receipt


def receipt(request_id: str) -> Receipt:
    return Receipt(
        request_id=request_id,
        arrived_us=time.time_ns() // 1000,
        surface="chat_completions",
        key_id="key-1",
        route="default",
        data_class="internal",
        policy_version="p1",
        table_version="t1",
        deployment="local",
        place="device",
        outcome="ok",
        prompt_tokens=10,
        completion_tokens=5,
        cost_nano_usd=1000,
        duration_ms=3,
        request_digest="",
        answer_digest="",
    )


def main(folder: Path, prefix: str) -> None:
    ledger = Ledger.open(folder, timing=Timing(flush_s=0.005, seal_s=0.05))
    print(ledger.log, flush=True)
    number = 0
    while True:
        for _ in range(200):
            ledger.record(receipt(f"{prefix}-{number}"), new_salt())
            number += 1
        # Settled means: the operating system has them.
        print(ledger.written, flush=True)
        time.sleep(0.002)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
