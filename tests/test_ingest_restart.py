"""Tests that an ingest writes the same bytes whatever the number of workers and of kills."""

import gzip
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from autodata.corpora.documents import DocumentsError, read_corpus
from autodata.run.folder import read_manifest
from autodata.run.records import hash_path
from tests.helpers.make_samples import make_paper, make_papers_row, pack
from tests.slurm.cluster import until

REPO = Path(__file__).parent.parent
RECIPE = REPO / "recipes" / "ingest" / "ingest_s2orc.yaml"
pytestmark = pytest.mark.slow


def write_shards(folder: Path, shards: int, rows: int) -> None:
    """Write papers of random words; every tenth repeats a paper of the previous shard exactly or nearly."""
    chance = random.Random(7)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(4_000)]
    texts = [" ".join(chance.choices(words, k=1_500)) for _ in range(shards * rows)]
    for n in range(rows, shards * rows, 10):
        texts[n] = texts[n - rows] + (" and more" if n % 20 else "")
    (folder / "files").mkdir(parents=True)
    (folder / "papers").mkdir()
    for shard in range(shards):
        numbers = range(shard * rows, (shard + 1) * rows)
        papers = [
            make_paper(1)
            | {
                "corpusid": n,
                "title": "",
                "body": {"text": texts[n], "annotations": {"paragraph": [{"start": 0, "end": len(texts[n])}]}},
            }
            for n in numbers
        ]
        # The files are stored without compression, so that each is large enough to be a task of its own.
        (folder / "files" / f"{shard:04d}.gz").write_bytes(gzip.compress(pack(papers), 1, mtime=0))
    rows_of = [make_papers_row(n, 2023 if n % 3 else 2020) for n in range(shards * rows)]
    (folder / "papers" / "a.gz").write_bytes(gzip.compress(pack(rows_of)))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_shards(folder, 6, 120)
    return folder


def command(corpus: Path, run: Path, *arguments: str) -> list[str]:
    # Small tasks: the files of the test are far below the size that makes a task.
    code = "from autodata.corpora import sources, ingest; sources._TASK_FILES = 1; ingest.main()"
    values = [f"path={corpus / 'files'}", f"papers={corpus / 'papers'}", f"run={run}"]
    values += ["s2orc.english=false", "keep_rows=null"]
    return [sys.executable, "-c", code, str(RECIPE), *values, *arguments]


def find_marked(variable: str) -> list[str]:
    """List the living processes with this in their environment."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                pids.append((process / "cmdline").read_text().replace("\0", " "))
    return pids


def outputs(run: Path) -> dict[str, str]:
    return {name: hash_path(run / name) for name in ("documents", "dropped", "report.md")}


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(command(corpus, run, "workers=1"), check=True, cwd=REPO)
    manifest = read_manifest(run)
    assert manifest["dropped"]["near-duplicate text"] > 0
    assert manifest["dropped"]["duplicate text"] > 0
    assert len(list((run / "documents").iterdir())) == len(list((corpus / "files").iterdir()))
    return run


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_nothing(corpus, undisturbed, tmp_path, workers):
    subprocess.run(command(corpus, tmp_path / "run", f"workers={workers}"), check=True, cwd=REPO)
    assert outputs(tmp_path / "run") == outputs(undisturbed)


def test_killed_again_and_again(corpus, undisturbed, tmp_path):
    chance, run, kills = random.Random(11), tmp_path / "run", 0
    for attempt in range(40):
        marked = os.environ | {"INGEST_OF": str(run)}
        started = subprocess.Popen(command(corpus, run, "workers=2"), cwd=REPO, stderr=subprocess.DEVNULL, env=marked)
        try:
            started.wait(chance.uniform(1.2, 3.0) * (1 + attempt / 3))  # wait longer: the machine may be slow
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGKILL)
            started.wait()
            kills += 1
            if not (read_manifest(run) or {}).get("finished"):
                with pytest.raises(DocumentsError):  # a partial corpus is never read as a whole one
                    read_corpus(str(run))
        else:
            assert started.returncode == 0
            break
    assert kills >= 1
    until(lambda: not find_marked(f"INGEST_OF={run}"), 10, lambda: f"left behind: {find_marked(f'INGEST_OF={run}')}")
    assert outputs(run) == outputs(undisturbed)


def test_a_full_disk_is_named_and_the_same_command_goes_on(corpus, undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be made here: {mounted.stderr.decode().strip()}")
    try:
        failed = subprocess.run(
            command(corpus, disk / "run", "workers=2"), cwd=REPO, capture_output=True, text=True, timeout=120
        )
        assert failed.returncode == 1
        assert "No space left on device" in failed.stderr
        assert not (read_manifest(disk / "run") or {}).get("finished")
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        subprocess.run(command(corpus, disk / "run", "workers=2"), check=True, cwd=REPO)
        assert outputs(disk / "run") == outputs(undisturbed)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_record_of_200_megabytes_costs_no_more_memory_than_the_limit_of_a_line(corpus, tmp_path):
    folder = tmp_path / "corpus"
    write_shards(folder, 1, 20)
    with gzip.open(folder / "files" / "0001.gz", "wb", 1) as file:
        file.write(b'{"corpusid": 1, "body": {"text": "')
        for _ in range(200):
            file.write(b"x" * 1_000_000)
        file.write(b'"}}\n')
        file.write(pack([make_paper(1) | {"corpusid": 1}]))
    # A small process starts it, because a forked child's peak starts at its parent's size.
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    ingest = command(folder, tmp_path / "run", "workers=1", "s2orc.min_chars=1000")
    done = subprocess.run([sys.executable, "-c", measure, *ingest], cwd=REPO, check=True, stdout=subprocess.PIPE)
    peak = int(done.stdout.split()[-1])
    manifest = read_manifest(tmp_path / "run")
    assert manifest["dropped"][f"a line of more than {64 << 20:,} bytes"] == 1
    assert peak * (1 if sys.platform == "darwin" else 1024) < 600_000_000
