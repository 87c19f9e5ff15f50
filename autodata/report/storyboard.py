"""Packs every round of every document into a page: a light index for the list, compressed blocks for the rest."""

import base64
import difflib
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace

from autodata.types import TRAJECTORY, Attempt, Round, Trajectory, Verdict

TEXT_CHARS = 8_000  # maximum length of an answer or its reasoning; longer texts lose their middle
EXCERPT_CHARS = 140
_MIN_SIMILARITY = 0.3  # questions that are less similar than this are not compared


class Storyboards:
    """Collects the documents of a run, in the order in which they are added."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._entries: list[dict[str, object]] = []

    @property
    def blocks(self) -> list[str]:
        return self._blocks.packed

    def add(self, trajectory: Trajectory, kind: str) -> None:
        """Add a document. The list can be filtered by its `kind`, besides by end and failure."""
        shown = replace(trajectory, rounds=tuple(_shorten_round(r) for r in trajectory.rounds))
        changes = json.dumps(list(compare_questions(trajectory.rounds))).encode()
        self._entries.append(
            {
                "id": trajectory.document_id,
                "source": trajectory.document_source,
                "kind": kind,
                "end": trajectory.end,
                "verdicts": [style(r) for r in trajectory.rounds],
                "excerpt": _excerpt(trajectory),
                **self._blocks.add(b'{"trajectory":%b,"changes":%b}' % (TRAJECTORY.dump_json(shown), changes)),
            }
        )

    def finish(self) -> str:
        """Close the last block and return the index, packed like a block."""
        self._blocks.close()
        return pack(json.dumps(self._entries).encode())


def style(round: Round) -> str:
    """Return the style of a round's verdict."""
    return style_of(round.verdict)


def style_of(verdict: Verdict) -> str:
    return "accepted" if verdict.accepted else verdict.failure or "unmeasured"


def compare_questions(rounds: tuple[Round, ...]) -> Iterator[list[tuple[str, str]] | None]:
    """Yield for each round how its question differs from the previous one, word by word; None if that says little."""
    before: str | None = None
    for round in rounds:
        question = round.candidate.question if round.candidate else None
        yield compare_words(before, question) if before and question else None
        before = question or before


def compare_words(before: str, after: str) -> list[tuple[str, str]] | None:
    """List stretches of words that stayed ("="), went ("-") or came ("+"). None if nearly nothing stayed."""
    old, new = before.split(), after.split()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    if matcher.quick_ratio() < _MIN_SIMILARITY or matcher.ratio() < _MIN_SIMILARITY:
        return None
    stretches = []
    for _, from_old, to_old, from_new, to_new in matcher.get_opcodes():
        removed, added = " ".join(old[from_old:to_old]), " ".join(new[from_new:to_new])
        stretches += (
            [("=", removed)]
            if removed == added
            else [(sign, words) for sign, words in (("-", removed), ("+", added)) if words]
        )
    return stretches


def _excerpt(trajectory: Trajectory) -> str:
    questions = [r.candidate.question for r in trajectory.rounds if r.candidate]
    return shorten(questions[-1] if questions else trajectory.note)


def shorten(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARS else line[: EXCERPT_CHARS - 1] + "…"


def _shorten_round(round: Round) -> Round:
    weak, strong = (tuple(map(_shorten_attempt, side)) for side in (round.weak, round.strong))
    return replace(round, weak=weak, strong=strong)


def _shorten_attempt(attempt: Attempt) -> Attempt:
    return replace(attempt, answer=_cut(attempt.answer), reasoning=_cut(attempt.reasoning))


def _cut(text: str) -> str:
    if len(text) <= TEXT_CHARS:
        return text
    half = TEXT_CHARS // 2
    return (
        f"{text[:half]}\n\n[… {len(text) - 2 * half:,} characters are left out here; "
        f"they are in the run's trajectories.jsonl …]\n\n{text[-half:]}"
    )


BLOCK_BYTES = 256 * 1024  # JSON in a block, before compression; to open one record, its block is unpacked


class Blocks:
    """Packs JSON records into compressed blocks, in the order in which they are added."""

    def __init__(self) -> None:
        self.packed: list[str] = []
        self._open: list[bytes] = []
        self._size = 0

    def add(self, record: bytes) -> dict[str, int]:
        """Add a record and return where it will be found."""
        where = {"block": len(self.packed), "at": len(self._open)}
        self._open.append(record)
        self._size += len(record)
        if self._size > BLOCK_BYTES:
            self.close()
        return where

    def close(self) -> None:
        """Pack the records that are in no block yet."""
        if self._open:
            self.packed.append(pack(b"[" + b",".join(self._open) + b"]"))
            self._open, self._size = [], 0


def pack(data: bytes) -> str:
    """Compress bytes to text that may stand anywhere in a page, because no character of it is markup."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()
