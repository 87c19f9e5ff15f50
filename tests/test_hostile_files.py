"""Tests readers with damaged or forged files: each returns a result or raises the error that it promises."""

import asyncio
import io
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter
from rich.console import Console

from autodata import status
from autodata.corpora.text import pdf
from autodata.journal.replies import export_replies
from autodata.journal.salvage import salvage
from autodata.report import index as report
from autodata.run.folder import read_manifest
from autodata.run.records import RunError
from autodata.run.snapshot import FILE, SNAPSHOT
from autodata.serving.journal import Journal, JournalError, read_replies
from autodata.serving.leases import LeaseWatch
from autodata.types import Outcome, Reply
from tests.helpers.make_samples import make_pdf
from tests.test_hostile_input import VALUES
from tests.test_status import snapshot

pytestmark = pytest.mark.slow

bounded = settings(max_examples=30, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
ODD = VALUES | st.sampled_from([-1, 10**400, 1e300, float("nan"), float("inf")])
SPOTS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8)
KEPT = st.floats(0.2, 1) | st.just(1.0)
DEEP = b"[" * 100_000


@contextmanager
def file_of(name: str, data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


@contextmanager
def suppress_named(problem: type[Exception], path: Path) -> Iterator[None]:
    """Suppress a promised error only if its message names the file."""
    try:
        yield
    except problem as error:
        assert str(path) in str(error)


def damage(whole: bytes, spots: list[tuple[float, int]], kept: float) -> bytes:
    """Replace some bytes, then cut the data."""
    data = bytearray(whole)
    for place, byte in spots:
        data[round(place * (len(data) - 1))] = byte
    return bytes(data[: round(kept * len(data))])


def make_pdfs() -> list[bytes]:
    """Make the same page plain and, like most PDFs, compressed."""
    plain, packed = make_pdf(["A first line", "and a second"]), io.BytesIO()
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(plain)))
    for page in writer.pages:
        page.compress_content_streams()
    writer.write(packed)
    return [plain, packed.getvalue()]


@bounded
@given(whole=st.sampled_from(make_pdfs()), spots=SPOTS, kept=KEPT)
def test_a_damaged_pdf_has_text_or_a_reason(whole, spots, kept):
    with file_of("a.pdf", damage(whole, spots, kept)) as path:
        exit_status, text = pdf.read(path)
        assert exit_status in (0, *pdf._REASONS)
        assert not (exit_status and text)


@pytest.fixture(scope="module")
def journal_bytes(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    with closing(Journal(path)) as journal:
        for key in "ab":
            asyncio.run(journal.put(key, Reply(Outcome.ANSWERED, "an answer", "", "stop", "m", 1, 1, 0.1)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def read_or_salvage(path: Path) -> None:
    with suppress_named(JournalError, path):
        assert all(isinstance(reply, Reply) for reply, _ in read_replies(path))
    with suppress_named(JournalError, path), closing(Journal(path)) as journal:
        assert isinstance(journal.get("a"), Reply | None)
    with suppress(sqlite3.DatabaseError):  # no database at all: the command says so
        salvage(path)
        assert all(isinstance(reply, Reply) for reply, _ in read_replies(path))


@bounded
@given(spots=SPOTS, kept=KEPT, data=st.binary(max_size=200))
def test_a_damaged_journal_is_read_or_named(journal_bytes, spots, kept, data):
    for content in (journal_bytes[:100] + data, damage(journal_bytes, spots, kept)):
        with file_of("journal.sqlite", content) as path:
            read_or_salvage(path)


@bounded
@given(
    row=st.integers(0, 9)
    | st.floats(allow_nan=False)
    | st.text("{}ab")
    | st.binary(max_size=40)
    | st.binary(max_size=20).map(lambda rest: b"\x28\xb5\x2f\xfd" + rest),
    at=st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20),
)
def test_a_forged_row_of_a_journal_is_named_and_left_behind(journal_bytes, row, at):
    with file_of("journal.sqlite", journal_bytes) as path:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE replies SET reply = ? WHERE key = 'a'", (row,))
            connection.execute("UPDATE replies SET at = ? WHERE key = 'b'", (at,))
        for read in (lambda: list(read_replies(path)), lambda: export_replies(path, path.with_name("pack"))):
            with pytest.raises(JournalError, match=f"(?s){path}.*salvage"):
                read()
        assert salvage(path)[0] == 1
        assert [reply.content for reply, _ in read_replies(path)] == ["an answer"]


PROGRESS = SNAPSHOT.dump_python(snapshot(), mode="json")
MANIFEST = {"inputs": {"kind": "tea"}, "outputs": {}, "sessions": [], "funnel": {}, "started": "", "statistics": {}}


def forge(record: dict, at: str, value: object) -> bytes:
    return json.dumps(record | {at: value}).encode() + b"\n"


def look(run: Path) -> None:
    seen = status.look(run, LeaseWatch(run / status.LEASES))
    status.show(seen, Console(file=io.StringIO(), width=200))
    assert status.tell(seen)
    json.loads(status.to_json(seen), parse_constant=pytest.fail)


@bounded
@given(at=st.sampled_from([*PROGRESS]), value=ODD, data=st.binary(max_size=60))
def test_a_progress_file_is_shown_or_passed_over(at, value, data):
    for content in (forge(PROGRESS, at, value), data, DEEP):
        with file_of(FILE, content) as path:
            (path.parent / "manifest.json").write_text("{}")
            look(path.parent)
            assert report.report_all(path.parent).exists()


@bounded
@given(at=st.sampled_from([*MANIFEST]), value=ODD, data=st.binary(max_size=60))
def test_a_manifest_is_read_or_named(at, value, data):
    for content in (forge(MANIFEST, at, value), json.dumps(value).encode(), data, DEEP):
        with file_of("manifest.json", content) as path:
            look(path.parent)
            with suppress_named(RunError, path):
                assert isinstance(read_manifest(path.parent), dict)
