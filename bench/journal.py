"""How long a journal of a million replies takes to open and to replay its first one.

    python bench/journal.py [--replies 1000000]

The reference in the same run: reading the same replies back from a JSONL file.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from autodata.journal import Journal
from autodata.types import REPLY, Outcome, Reply

REPLY_2_KB = Reply(Outcome.OK, "x" * 1_850, "", "stop", "model", 100, 400, 1.0)


async def fill(journal: Journal, count: int) -> None:
    for start in range(0, count, 10_000):
        await asyncio.gather(*(journal.put(f"{i:064}", REPLY_2_KB) for i in range(start, min(start + 10_000, count))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=1_000_000)
    count = parser.parse_args().replies
    with tempfile.TemporaryDirectory() as folder:
        path, lines = Path(folder) / "journal.sqlite", Path(folder) / "replies.jsonl"
        start = time.monotonic()
        journal = Journal(path)
        asyncio.run(fill(journal, count))
        journal.close()
        filled = time.monotonic() - start
        start = time.monotonic()
        journal = Journal(path)
        assert journal.get(f"{count - 1:064}") == REPLY_2_KB
        opened = time.monotonic() - start
        journal.close()
        record = json.dumps({"key": "0" * 64, "reply": REPLY.dump_python(REPLY_2_KB, mode="json")}) + "\n"
        lines.write_text(record * count)
        start = time.monotonic()
        with lines.open() as file:
            assert sum(1 for line in file if json.loads(line)["key"]) == count
        read = time.monotonic() - start
    result = {
        "replies": count,
        "durable_puts_per_s": round(count / filled),
        "open_and_first_replay_s": round(opened, 4),
        "jsonl_read_s": round(read, 2),
        "ratio_to_jsonl": round(opened / read, 5),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
