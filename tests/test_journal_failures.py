"""Tests failures around a journal; test_journal.py tests its normal use."""

import asyncio
import hashlib
import json
import random
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from autodata.journal import actions as journal_command
from autodata.journal import replies
from autodata.journal.salvage import salvage
from autodata.serving import journal as journal_module
from autodata.serving.journal import Journal, JournalError
from autodata.types import Outcome, Reply
from tests.helpers.commands import fails

pytestmark = pytest.mark.slow

REPLY = Reply(Outcome.ANSWERED, "yes", "because", "stop", "m", 1, 2, 0.5)
LONG = replace(REPLY, content=random.Random(0).randbytes(40_000).hex())  # no compression makes it short


def put(journal, key, reply=REPLY):
    asyncio.run(journal.put(key, reply))


@pytest.fixture
def filled(tmp_path):
    journal = Journal(tmp_path / "filled")
    for key in ("a", "b", "c"):
        put(journal, key, LONG)
    journal.close()
    return tmp_path / "filled"


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "autodata.journal", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_reply_to_a_request_stands(journal):
    put(journal, "k")
    put(journal, "k", LONG)
    assert journal.get("k") == REPLY


def test_a_second_process_is_refused_until_the_first_lets_go(journal):
    done = command(journal.path, "prune", "--keep-days", "1")
    assert done.returncode == 1
    assert f"{journal.path}: in use by another process" in done.stderr
    assert "Traceback" not in done.stderr
    journal.close()
    assert command(journal.path, "prune", "--keep-days", "1").returncode == 0


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9])
def test_a_truncated_file_is_named(filled, share):
    data = filled.read_bytes()
    filled.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(JournalError, match=f"{filled}: "):
        Journal(filled)


def test_a_refused_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a journal, but dear to somebody\n" * 99)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"notes\.txt"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_damaged_reply_names_the_file(filled):
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE replies SET reply = '{}' WHERE key = 'b'")
    journal = Journal(filled)
    with pytest.raises(JournalError, match=f"{filled}: not a readable journal"):
        journal.get("b")
    assert journal.get("a") == LONG
    journal.close()


def test_a_really_full_file_is_said_and_earlier_replies_stay(journal, monkeypatch):
    put(journal, "before")
    commit = Journal._commit

    def commit_without_room(self, connection, batch):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        commit(self, connection, batch)

    monkeypatch.setattr(Journal, "_commit", commit_without_room)
    with pytest.raises(JournalError, match=f"{journal.path}: cannot write .*full"):
        put(journal, "lost", LONG)
    assert journal.get("before") == REPLY
    assert journal.get("lost") is None


def test_everyone_in_a_failed_commit_is_told(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "INSERT", "INSERT INTO no_such_table VALUES (?, ?, ?)")

    async def put_all():
        puts = (journal.put(str(n), REPLY) for n in range(20))
        return await asyncio.gather(*puts, return_exceptions=True)

    assert [type(failure) for failure in asyncio.run(put_all())] == [JournalError] * 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_cancelled_put_does_not_stop_the_others(journal):
    async def cancel_one():
        task = asyncio.create_task(journal.put("cancelled", REPLY))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(journal.put("next", REPLY), 0.5)

    asyncio.run(cancel_one())
    assert journal.get("cancelled") == journal.get("next") == REPLY


def test_an_imported_pack_changes_nothing_that_is_there(filled, tmp_path):
    pack, other = tmp_path / "pack.jsonl", tmp_path / "other"
    replies.export_replies(filled, pack)
    mine = Journal(other)
    put(mine, "b")
    mine.close()
    replies.import_replies(other, pack)
    merged = Journal(other)
    assert [merged.get(key) for key in "abc"] == [LONG, REPLY, LONG]
    merged.close()


def test_a_pack_is_readable_json_with_the_same_replies_after_a_round_trip(filled, tmp_path):
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    replies.export_replies(filled, first)
    replies.import_replies(tmp_path / "copy", first)
    replies.export_replies(tmp_path / "copy", second)
    assert first.read_bytes() == second.read_bytes()
    lines = [json.loads(line) for line in first.read_text().splitlines()]
    assert [line["key"] for line in lines] == ["a", "b", "c"]
    assert lines[0]["reply"]["content"] == LONG.content


def test_a_bad_line_leaves_the_journal_without_any_of_the_pack(filled, tmp_path):
    pack, other = tmp_path / "pack.jsonl", tmp_path / "other"
    replies.export_replies(filled, pack)
    with pack.open("a") as file:
        file.write('{"key": "d", "at": 0, "reply": {"outcome": "invented"}}\n')
    Journal(other).close()
    with pytest.raises(JournalError, match=r"pack\.jsonl:4: this is not a line of exported replies"):
        replies.import_replies(other, pack)
    opened = Journal(other)
    assert opened.get("a") is None
    opened.close()


def test_prune_forgets_the_old_and_keeps_the_new(filled):
    with sqlite3.connect(filled) as connection:
        old = int(time.time()) - 31 * 86_400
        connection.execute("UPDATE replies SET at = ? WHERE key = 'a'", (old,))
    assert replies.prune(filled, keep_days=30) == 1
    journal = Journal(filled)
    assert [journal.get(key) is None for key in "abc"] == [True, False, False]
    journal.close()


@pytest.mark.parametrize("action", [(), ("export", "pack.jsonl")])
def test_the_command_does_not_make_a_journal_that_is_not_there(tmp_path, monkeypatch, action):
    monkeypatch.setattr(sys, "argv", ["journal", str(tmp_path / "none"), *action])
    with fails("none: no such file"):
        journal_command.main()
    assert not (tmp_path / "none").exists()


def keys_of(path):
    journal = Journal(path)
    kept = {key for key in KEYS if journal.get(key) == LONG}
    journal.close()
    return kept


KEYS = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(64)]


@pytest.fixture
def hashed(tmp_path):
    """Make a journal of 64 replies on several pages each."""
    journal = Journal(tmp_path / "hashed")
    for key in KEYS:
        put(journal, key, LONG)
    journal.close()
    return tmp_path / "hashed"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_journal_is_salvaged_as_far_as_it_goes(hashed, share):
    data = hashed.read_bytes()
    hashed.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(JournalError, match=rf"python -m autodata\.journal {hashed} salvage"):
        Journal(hashed)
    kept, aside = salvage(hashed)
    assert len(keys_of(hashed)) == kept
    assert 64 * share / 3 < kept < 64  # a page can hold the beginnings of rows that end on others
    assert aside.read_bytes() == data[: int(len(data) * share)]
    with pytest.raises(JournalError, match=r"damaged: this file exists already"):
        salvage(hashed)


def test_a_page_of_zeros_costs_only_what_stood_on_it(hashed):
    with hashed.open("r+b") as file:
        file.seek(hashed.stat().st_size // 2)
        file.write(bytes(4_096))
    kept, _ = salvage(hashed)
    assert len(keys_of(hashed)) == kept
    assert 60 <= kept < 64


def test_a_sound_journal_is_salvaged_whole(hashed):
    assert salvage(hashed)[0] == 64
    assert keys_of(hashed) == set(KEYS)


def test_a_journal_whose_main_file_is_gone_is_not_taken_for_a_new_one(tmp_path):
    journal = Journal(tmp_path / "j")
    put(journal, KEYS[0], LONG)
    log = (tmp_path / "j-wal").read_bytes()
    journal.close()
    (tmp_path / "j").write_bytes(b"")
    (tmp_path / "j-wal").write_bytes(log)
    with pytest.raises(JournalError, match="still in its -wal file"):
        Journal(tmp_path / "j")
    assert salvage(tmp_path / "j")[0] == 1
    assert keys_of(tmp_path / "j") == {KEYS[0]}


def test_a_kill_while_a_journal_is_made_leaves_nothing_that_is_refused_later(tmp_path):
    (tmp_path / "j.new").write_bytes(b"half a file")
    Journal(tmp_path / "j").close()
    assert not (tmp_path / "j.new").exists()
