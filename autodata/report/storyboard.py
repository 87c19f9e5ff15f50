"""Packs every round of every document into a page: a light index for the list, compressed blocks for the rest.

One document with an accepted question is also told on a card, which shows its whole way at a glance.
"""

import base64
import difflib
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from autodata.loop.directing.recap import average, shorten
from autodata.serving.scripted import is_made_up
from autodata.types import TRAJECTORY, Attempt, Round, Trajectory, Verdict

TEXT_CHARS = 8_000  # maximum length of an answer or its reasoning; longer texts lose their middle
EXCERPT_CHARS = 140
BLOCK_BYTES = 256 * 1024  # JSON in a block, before compression; to open one record, its block is unpacked
_MIN_SIMILARITY = 0.3  # questions that are less similar than this are not compared
Stretch = tuple[str, str]  # "=", "-", "+" or "…", and the text


class Blocks:
    """Packs JSON records into compressed blocks, and lists them in an index, in the order in which they are added."""

    def __init__(self) -> None:
        self.packed: list[str] = []
        self._entries: list[dict[str, object]] = []
        self._open: list[bytes] = []
        self._size = 0

    def add(self, entry: dict[str, object], record: bytes) -> None:
        """Add a record; its entry of the index also says where it will be found."""
        self._entries.append({**entry, "block": len(self.packed), "at": len(self._open)})
        self._open.append(record)
        self._size += len(record)
        if self._size > BLOCK_BYTES:
            self._close()

    def finish(self) -> str:
        """Close the last block and return the index, packed like a block."""
        self._close()
        return _pack(json.dumps(self._entries).encode())

    def _close(self) -> None:
        if self._open:
            self.packed.append(_pack(b"[" + b",".join(self._open) + b"]"))
            self._open, self._size = [], 0


def _pack(data: bytes) -> str:
    """Compress bytes to text that may stand anywhere in a page, because no character of it is markup."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


def add_document(blocks: Blocks, trajectory: Trajectory, kind: str) -> None:
    """Add a document. The list can be filtered by its `kind`, besides by end and failure."""
    rounds = tuple(replace(r, weak=_shorten(r.weak), strong=_shorten(r.strong)) for r in trajectory.rounds)
    changes = json.dumps(list(compare_questions(trajectory.rounds))).encode()
    questions = [r.candidate.question for r in rounds if r.candidate]
    entry = {
        "id": trajectory.document_id,
        "source": trajectory.document_source,
        "kind": kind,
        "end": trajectory.end,
        "verdicts": [style_of(r.verdict) for r in rounds],
        "excerpt": shorten(questions[-1] if questions else trajectory.note, EXCERPT_CHARS),
    }
    shown = TRAJECTORY.dump_json(replace(trajectory, rounds=rounds))
    blocks.add(entry, b'{"trajectory":%b,"changes":%b}' % (shown, changes))


def style_of(verdict: Verdict) -> str:
    return "accepted" if verdict.accepted else verdict.failure or "unmeasured"


def compare_questions(rounds: Sequence[Round]) -> Iterator[list[Stretch] | None]:
    """Yield for each round how its question differs from the previous one, word by word; None if that says little."""
    before: str | None = None
    for round in rounds:
        question = round.candidate.question if round.candidate else None
        yield compare_words(before, question) if before and question else None
        before = question or before


def compare_words(before: str, after: str) -> list[Stretch] | None:
    """List stretches of words that stayed ("="), went ("-") or came ("+"). None if nearly nothing stayed."""
    old, new = before.split(), after.split()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    if matcher.quick_ratio() < _MIN_SIMILARITY or matcher.ratio() < _MIN_SIMILARITY:
        return None
    return list(list_stretches(matcher, old, new, " "))


def list_stretches(
    matcher: difflib.SequenceMatcher[str], old: Sequence[str], new: Sequence[str], space: str
) -> Iterator[Stretch]:
    """Yield the stretches that stayed, went or came between the two sequences of `matcher`, joined by `space`."""
    for _, from_old, to_old, from_new, to_new in matcher.get_opcodes():
        removed, added = space.join(old[from_old:to_old]), space.join(new[from_new:to_new])
        if removed == added:
            yield "=", removed
        else:
            yield from ((sign, text) for sign, text in (("-", removed), ("+", added)) if text)


def _shorten(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    return tuple(replace(a, answer=_cut(a.answer), reasoning=_cut(a.reasoning)) for a in attempts)


def _cut(text: str) -> str:
    if len(text) <= TEXT_CHARS:
        return text
    half = TEXT_CHARS // 2
    return (
        f"{text[:half]}\n\n[… {len(text) - 2 * half:,} characters are left out here; "
        f"they are in the run's trajectories.jsonl …]\n\n{text[-half:]}"
    )


# ── the card of one document ────────────────────────────────────────────────────────────────────

_SCENES = 6  # maximum number of rejected rounds that a card shows one by one
_CRITERIA = 12  # maximum number of criteria on a card
_CARD_CHARS = 600  # maximum length of a question on a card
# What a verdict says about a question, in the words of a card.
MEANINGS = {
    "malformed": "the proposal could not be read",
    "low_quality": "it did not pass the quality check",
    "too_easy": "the weak solver answers it already",
    "no_signal": "the weak solver never answers it, so training on it has nothing to reward",
    "too_hard": "the strong solver fails at it, too",
    "small_gap": "the strong solver is hardly better than the weak one",
    "cut_off": "too many answers ran out of their budget to tell",
    "improve": "the reviewer asked for a better version",
    "unmeasured": "attempts are missing, so nobody can tell",
}
Dots = Sequence[float | None]  # a score per attempt; None: not judged


@dataclass(frozen=True)
class Story:
    """A document's way to its first accepted question."""

    document: str
    rounds: Sequence[Round]  # the last one is the accepted one

    @property
    def accepted(self) -> Round:
        return self.rounds[-1]

    @property
    def rejected(self) -> Sequence[Round]:
        """The rejected rounds that the card shows: all, or the first and the last ones of many."""
        rounds = self.rounds[:-1]
        half = _SCENES // 2
        return rounds if len(rounds) <= _SCENES else (*rounds[:half], *rounds[-half:])

    @property
    def left_out(self) -> Counter[str]:
        """How many of the rejected rounds are not shown, by verdict."""
        shown = {round.number for round in self.rejected}
        return Counter(style_of(r.verdict) for r in self.rounds[:-1] if r.number not in shown)

    @property
    def meanings(self) -> dict[str, str]:
        """Each verdict of the rejected rounds with its meaning, in the order in which they came."""
        return {style: MEANINGS[style] for style in dict.fromkeys(style_of(r.verdict) for r in self.rounds[:-1])}

    @property
    def criteria(self) -> list[tuple[str, int, Dots, Dots]]:
        """The rubric of the accepted question: text and points of each criterion, and which attempts meet it."""
        candidate, sides = self.accepted.candidate, (self.accepted.weak, self.accepted.strong)
        lines = enumerate(candidate.rubric[:_CRITERIA] if candidate else ())
        return [(line.text, line.weight, *([_read_met(a, at) for a in side] for side in sides)) for at, line in lines]

    @property
    def criteria_left_out(self) -> int:
        return max(len(self.accepted.candidate.rubric) - _CRITERIA, 0) if self.accepted.candidate else 0

    @cached_property
    def rank(self) -> tuple[int, float, int]:
        """Sorts stories by how much they show: kinds of rejection, then the gap between the solvers, then brevity."""
        weak, strong = average(self.accepted.weak), average(self.accepted.strong)
        return len(self.meanings), (strong or 0) - (weak or 0), -len(self.rounds)


def tell_story(trajectory: Trajectory) -> Story | None:
    """Tell how a document got its accepted question; None if it has none that both solvers tried."""
    accepted = trajectory.accepted
    if accepted is None or not (accepted.candidate and accepted.weak and accepted.strong):
        return None
    before = [round for round in trajectory.rounds if round.number < accepted.number]
    return Story(trajectory.document_id, (*before, accepted))


def choose_story(trajectories: Iterable[Trajectory]) -> Story | None:
    """Choose the story that shows most; None if no document has an accepted question."""
    stories = (story for trajectory in trajectories if (story := tell_story(trajectory)))
    return max(stories, key=lambda story: story.rank, default=None)


def describe_makers(manifest: Mapping[str, Any]) -> dict[str, object]:
    """Name the domain and the solvers of a run, as a card does."""
    inputs, models = manifest.get("inputs", {}), manifest.get("models") or {}
    return {
        "domain": inputs.get("domain.name") or "",
        "is_privileged": bool(inputs.get("domain.privileged_strong")),
        "weak": models.get("weak_solver"),
        "strong": models.get("strong_solver"),
        "is_made_up": is_made_up(models.values()),
    }


def read_question(round: Round) -> str:
    """Return the question of a round, at most as long as a card can show."""
    text = round.candidate.question if round.candidate else ""
    return text if len(text) <= _CARD_CHARS else f"{text[: _CARD_CHARS - 1]}…"


def read_scores(attempts: Sequence[Attempt]) -> Dots:
    return [attempt.judgement.score for attempt in attempts]


def _read_met(attempt: Attempt, criterion: int) -> float | None:
    met = attempt.judgement.met
    return None if met is None else float(met[criterion])
