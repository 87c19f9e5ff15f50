"""Measures what an ingest costs beyond the bare decompressor and JSON parser, on files of a gigabyte.

    python bench/ingest.py [--megabytes 1000] [--folder build/bench_ingest]

It compares the CPU time of both in one run: `gzip -dc` or `xz -dc` piped into orjson, and the command with one worker.
Then it does the same with two files, by one and by two workers.
"""

import argparse
import gzip
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

ELIGIBLE = 0.05  # about the share of all papers that are recent and in computer science
READER = (  # decompresses and parses in one process; two of them show what a second core gains here
    "import gzip, lzma, orjson, sys\n"
    'for line in (gzip if sys.argv[1].endswith(".gz") else lzma).open(sys.argv[1]): orjson.loads(line)'
)
PARSER = "import orjson, sys\nfor line in sys.stdin.buffer: orjson.loads(line)"


@dataclass
class ProcessCost:
    """The cost of one process and its children."""

    wall_s: float
    cpu_s: float
    peak_mb: float  # memory of the largest process


def measure(command: list[str] | str) -> ProcessCost:
    """Run a command to its end and measure it. Raises CalledProcessError."""
    start = time.monotonic()
    process = subprocess.Popen(command, shell=isinstance(command, str), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(status, command)
    wall = time.monotonic() - start
    return ProcessCost(round(wall, 1), round(usage.ru_utime + usage.ru_stime, 1), round(usage.ru_maxrss / 1024))


def write_words(chance: random.Random) -> str:
    """Write twenty megabytes of words, the frequent ones short, with the words of reasoning that opinions have."""
    words = ["".join(chance.choices("etaoinshrdlu", k=2 + min(9, n // 400))) for n in range(5_000)]
    weights = [1 / (n + 10) for n in range(len(words))]
    common = ["because", "therefore", "held", "evidence", "statute", "requires"] * 20
    return " ".join(chance.choices(words + common, weights + [0.002] * len(common), k=4_000_000))


def make_texts(chance: random.Random, megabytes: int) -> Iterator[str]:
    pool, total = write_words(chance), 0
    while total < megabytes * 1_000_000:
        length = int(chance.lognormvariate(10, 0.6))  # a median of 22,000 characters
        start = chance.randrange(len(pool) - length)
        total += length
        yield pool[start : start + length]


def write_papers(folder: Path, megabytes: int, seed: int) -> None:
    """Write a shard of s2orc_v2 with spans for paragraphs, and the rows of `papers` that belong to it."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    (folder / "papers").mkdir(exist_ok=True)
    chance = random.Random(seed)
    with (
        gzip.open(folder / "files" / f"{seed}.gz", "wb", 6) as file,
        gzip.open(folder / "papers" / f"{seed}.gz", "wb", 1) as rows,
    ):
        for n, text in enumerate(make_texts(chance, megabytes), seed << 32):
            spans = [{"start": i, "end": min(i + 800, len(text))} for i in range(0, len(text), 801)]
            references = [{"start": i, "end": i + 4, "attributes": {"ref_id": "b1"}} for i in range(0, len(text), 400)]
            annotations = {"paragraph": json.dumps(spans), "bib_ref": json.dumps(references)}
            file.write(orjson.dumps({"corpusid": n, "body": {"text": text, "annotations": annotations}}) + b"\n")
            category = "Computer Science" if chance.random() < ELIGIBLE else "Medicine"
            rows.write(
                orjson.dumps({"corpusid": n, "year": 2023, "s2fieldsofstudy": [{"category": category}]}) + b"\n"
            )


def write_opinions(folder: Path, megabytes: int, seed: int) -> None:
    (folder / "files").mkdir(parents=True, exist_ok=True)
    with lzma.open(folder / "files" / f"train.courtlisteneropinions.{seed}.jsonl.xz", "wb", preset=1) as file:
        for n, text in enumerate(make_texts(random.Random(seed), megabytes)):
            lines = "\n".join(text[i : i + 70] for i in range(0, len(text), 70))
            url = f"https://example.org/{seed}/{n}/"
            file.write(orjson.dumps({"text": lines, "created_timestamp": "01-01-2020", "url": url}) + b"\n")


def ingest(recipe: str, folder: Path, *arguments: str) -> list[str]:
    shutil.rmtree(folder / "run", ignore_errors=True)
    values = [f"path={folder / 'files'}", f"run={folder / 'run'}", "s2orc.english=false", "keep_rows=null", *arguments]
    if (folder / "papers").exists():
        values.append(f"papers={folder / 'papers'}")
    return [sys.executable, "-m", "autodata.corpora.ingest", f"recipes/ingest/ingest_{recipe}.yaml", *values]


def compare(recipe: str, folder: Path, bare: ProcessCost, title: str, *arguments: str) -> None:
    cost = measure(ingest(recipe, folder, "workers=1", *arguments))
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    record = {
        "what": title,
        "rows": manifest["rows"],
        "kept": manifest["kept"],
        "cpu_s": cost.cpu_s,
        "bare_cpu_s": bare.cpu_s,
        "ratio": round(bare.cpu_s / cost.cpu_s, 2),
        "peak_mb": cost.peak_mb,
    }
    print(json.dumps(record), flush=True)


def bench(recipe: str, write: Callable[[Path, int, int], None], decompress: str, folder: Path, megabytes: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write(folder, megabytes, 1)
    (file,) = (folder / "files").iterdir()
    bare = measure(f"{decompress} -dc {file} | {sys.executable} -c '{PARSER}'")
    compare(recipe, folder, bare, f"{recipe}, one in 10, tokens counted", "one_in=10")
    compare(recipe, folder, bare, f"{recipe}, all", "tokenizer=null")
    compare(recipe, folder, bare, f"{recipe}, one in 10", "one_in=10", "tokenizer=null")
    write(folder, megabytes, 2)
    one, two = (measure(ingest(recipe, folder, f"workers={n}", "tokenizer=null")) for n in (1, 2))
    read = f"{sys.executable} -c '{READER}' "
    files = list(map(str, sorted((folder / "files").iterdir())))
    bare_one, bare_two = (measure(" ".join(f"{read} {f} {end}" for f in files) + " wait") for end in (";", "&"))
    record = {
        "what": f"{recipe}, two files",
        "one_worker_s": one.wall_s,
        "two_workers_s": two.wall_s,
        "speed-up": round(one.wall_s / two.wall_s, 2),
        "bare_speed-up": round(bare_one.wall_s / bare_two.wall_s, 2),
    }
    print(json.dumps(record), flush=True)
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1_000, help="size of a file of texts")
    parser.add_argument("--folder", type=Path, default=Path("build/bench_ingest"), help="scratch folder")
    arguments = parser.parse_args()
    bench("s2orc", write_papers, "gzip", arguments.folder / "s2orc", arguments.megabytes)
    bench("pile_of_law", write_opinions, "xz", arguments.folder / "pile_of_law", arguments.megabytes)


if __name__ == "__main__":
    main()
