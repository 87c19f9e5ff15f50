"""Tests the journal of replies: durability, concurrent writers, forks, packs and refusals."""

import asyncio
import errno
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.config import RecipeError
from autodata.journal import replies
from autodata.serving import journal as journal_module
from autodata.serving.journal import Journal, JournalError, compress, decompress
from autodata.types import REPLY as RECORD
from autodata.types import Outcome, Reply

REPLY = Reply(Outcome.ANSWERED, "yes — “ok”", "", "stop", "m", 1, 2, 0.5)


def put(journal: Journal, key: str, reply: Reply = REPLY) -> None:
    asyncio.run(journal.put(key, reply))


def test_a_reply_is_durable_when_put_returns(journal):
    put(journal, "k")
    other = sqlite3.connect(journal.path)
    assert other.execute("SELECT count(*) FROM replies").fetchone() == (1,)
    assert journal.get("k") == REPLY
    assert journal.get("unknown") is None


def test_many_writers_share_commits_and_all_are_there(journal):
    async def put_all() -> None:
        await asyncio.gather(*(journal.put(str(i), REPLY) for i in range(2_000)))

    asyncio.run(put_all())
    assert all(journal.get(str(i)) == REPLY for i in range(2_000))


@pytest.mark.parametrize("outcome", Outcome)
def test_answers_are_kept_and_nothing_else(journal, outcome):
    put(journal, "k", replace(REPLY, outcome=outcome))
    assert (journal.get("k") is not None) == (outcome in (Outcome.ANSWERED, Outcome.CUT_OFF))


def test_a_second_user_is_refused(journal):
    with pytest.raises(JournalError, match="in use by another process"):
        Journal(journal.path)


def test_replies_survive_reopening(tmp_path: Path):
    first = Journal(tmp_path / "j")
    put(first, "k")
    first.close()
    second = Journal(tmp_path / "j")
    assert second.get("k") == REPLY
    second.close()


def test_other_files_are_refused_by_name(tmp_path: Path):
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (a)")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00garbage" * 999)
    with pytest.raises(JournalError, match=r"foreign\.sqlite: a database, but not a journal"):
        Journal(foreign)
    with pytest.raises(JournalError, match="garbage: not a readable journal"):
        Journal(garbage)


def test_a_journal_of_another_version_is_refused(tmp_path: Path):
    Journal(tmp_path / "j").close()
    with sqlite3.connect(tmp_path / "j") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="version 99"):
        Journal(tmp_path / "j")


def test_a_damaged_journal_is_an_error_with_its_name(tmp_path: Path):
    opened = Journal(tmp_path / "j")

    async def put_all() -> None:
        await asyncio.gather(*(opened.put(f"{i:05}", REPLY) for i in range(5_000)))

    asyncio.run(put_all())
    opened.close()
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(JournalError, match="not a readable journal"):
        broken = Journal(tmp_path / "j")
        for i in range(5_000):
            broken.get(f"{i:05}")


def test_a_fork_that_broke_off_begins_again(tmp_path: Path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    opened = Journal(source)
    put(opened, "k")  # in the -wal file alone
    copy = shutil.copyfile

    def copy_until_full(one: str, other: str) -> None:
        if one.endswith("-wal"):
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(one, other)

    monkeypatch.setattr("shutil.copyfile", copy_until_full)
    with pytest.raises(JournalError, match=r"No space left.*disk full"):
        journal_module.fork(source, target)
    monkeypatch.undo()
    assert not target.exists()
    journal_module.fork(source, target)
    opened.close()
    forked = Journal(target)
    assert forked.get("k") == REPLY
    forked.close()
    journal_module.fork(tmp_path / "source", target)  # is there, and stays


def test_a_fork_of_nothing_is_refused(tmp_path: Path):
    with pytest.raises(RecipeError, match=f"fork={tmp_path}: no journal"):
        journal_module.fork(tmp_path / "none", tmp_path / "target")


def test_a_replay_pack_goes_out_and_in_again(tmp_path: Path):
    opened = Journal(tmp_path / "a")
    put(opened, "k")
    opened.close()
    assert replies.export_replies(tmp_path / "a", tmp_path / "pack.jsonl") == 1
    assert replies.import_replies(tmp_path / "b", tmp_path / "pack.jsonl") == 1
    copy = Journal(tmp_path / "b")
    assert copy.get("k") == REPLY
    copy.close()
    assert replies.prune(tmp_path / "b", keep_days=1) == 0
    assert replies.prune(tmp_path / "b", keep_days=-1) == 1


def test_a_broken_pack_line_is_named(tmp_path: Path):
    pack = tmp_path / "pack.jsonl"
    pack.write_text('{"key": "k"}\n')
    with pytest.raises(JournalError, match=r"pack\.jsonl:1"):
        replies.import_replies(tmp_path / "j", pack)


def test_of_two_equal_requests_both_get_the_reply_that_is_stored(journal):
    other = replace(REPLY, content="later")

    async def put_both() -> list[Reply]:
        return await asyncio.gather(journal.put("k", REPLY), journal.put("k", other), journal.put("l", other))

    assert asyncio.run(put_both()) == [REPLY, REPLY, other]


def test_a_journal_of_version_1_is_read_and_goes_on(tmp_path: Path):
    path = tmp_path / "j"
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO replies VALUES ('old', ?, 7)", (RECORD.dump_json(REPLY).decode(),))
    connection.close()
    assert [reply for reply, _ in journal_module.read_replies(path)] == [REPLY]
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (1,), "reading leaves it as it is"
    journal = Journal(path)
    put(journal, "new", replace(REPLY, content="new"))
    assert journal.get("old") == REPLY
    assert {reply.content for reply, _ in journal_module.read_replies(path)} == {REPLY.content, "new"}
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (journal_module.VERSION,)
    journal.close()


@given(content=st.text(), reasoning=st.text(), arguments=st.text(), tokens=st.integers(0, 2**40))
def test_what_is_stored_is_what_was_answered(content, reasoning, arguments, tokens):
    texts = [text.encode(errors="replace").decode() for text in (content, reasoning, arguments)]  # as request.py does
    reply = replace(REPLY, content=texts[0], reasoning=texts[1], arguments=texts[2], prompt_tokens=tokens)
    assert decompress(compress(reply)) == reply


def test_a_reply_of_a_word_takes_less_room_than_as_text():
    short = Reply(Outcome.CUT_OFF, " word", "", "length", "smollm2-135m-instruct", 297, 6, 6.335108703000515)
    assert len(compress(short)) < 0.5 * len(RECORD.dump_json(short))


@pytest.mark.parametrize("stored", [b"", b"no frame", "{}", compress(REPLY)[:-3]])
def test_a_damaged_reply_is_a_value_error(stored):
    with pytest.raises(ValueError):
        decompress(stored)
