"""Measures a journal of a million replies of 2 kB: how fast it is written, opened and replayed, and its size.

    python -m bench.journal [--replies 1000000]

The replies are pieces of the demo's documents, so that they compress as prose does. The reference, in the same run,
is reading the same replies back from a JSONL file.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from autodata.serving.journal import Journal
from autodata.types import REPLY, Outcome, Reply

PROSE = " ".join(" ".join(path.read_text().split()) for path in sorted(Path("recipes/demo/documents").glob("*.txt")))
REPLAYED = 10_000


def make_reply(number: int) -> Reply:
    start = number * 7 % (len(PROSE) - 1_850)
    return Reply(Outcome.ANSWERED, PROSE[start : start + 1_850], "", "stop", "model", 100 + number, 400, number / 7)


async def fill(journal: Journal, count: int) -> None:
    for start in range(0, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        await asyncio.gather(*(journal.put(f"{i:064}", make_reply(i)) for i in numbers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=1_000_000, help="replies in the journal")
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
        assert journal.get(f"{count - 1:064}") == make_reply(count - 1)
        opened = time.monotonic() - start
        start = time.monotonic()
        for number in range(0, count, max(1, count // REPLAYED)):
            assert journal.get(f"{number:064}")
        replayed = (time.monotonic() - start) / min(count, REPLAYED)
        journal.close()
        with lines.open("w") as file:
            for i in range(count):
                file.write(
                    json.dumps({"key": f"{i:064}", "reply": REPLY.dump_python(make_reply(i), mode="json")}) + "\n"
                )
        start = time.monotonic()
        with lines.open() as file:
            assert sum(1 for line in file if json.loads(line)["key"]) == count
        read = time.monotonic() - start
        size, as_text = path.stat().st_size, lines.stat().st_size
    result = {
        "replies": count,
        "durable_puts_per_s": round(count / filled),
        "open_and_first_replay_s": round(opened, 4),
        "replay_us": round(1e6 * replayed),
        "jsonl_read_s": round(read, 2),
        "megabytes": round(size / 1e6),
        "jsonl_megabytes": round(as_text / 1e6),
        "ratio_to_jsonl": round(opened / read, 5),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
