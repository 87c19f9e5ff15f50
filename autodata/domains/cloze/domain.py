"""The cloze domain: a solver continues a sentence of the document, and code checks its next word."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autodata.loop import domain as base
from autodata.loop import rubric
from autodata.loop.agents import make_object
from autodata.loop.parsing import ParseError
from autodata.types import Candidate, Criterion, Document, Failure, Judgement, Quality, Round

MAX_WORDS = 400  # longer texts are cut, because a 135M model gets lost in them
OPTIONS = 6  # cut points shown per round
SHOWN_WORDS = 5  # words shown per cut point: the last ones before it
SHOWN_FAILURES = 2  # per kind, the latest ones
MIN_BEGINNING = 4  # a cut point has at least this many words before it
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True)
class CutPoint:
    """A place where a sentence is cut: the words before it and the word that follows."""

    beginning: str
    word: str

    @property
    def tail(self) -> str:
        """The last words of the beginning; they are short and enough to tell cut points apart."""
        return " ".join(self.beginning.split()[-SHOWN_WORDS:])


class Domain(base.Domain):
    """Gives each candidate one criterion, and checks in code whether the next word is the document's own."""

    def challenge(self, document: Document, rounds: Sequence[Round], number: int) -> list[base.Challenge]:
        options = self._choose_options(document, rounds, number)
        if not options:
            return []
        slots = {"document": excerpt(document.text), "options": options} | _failures(rounds)
        # Options are numbered from 1 in every round, so that the server compiles one grammar, not one per call.
        numbers = {"type": "integer", "enum": list(range(1, len(options) + 1))}
        return [base.Challenge(slots, make_object({"cut": numbers}))]

    def read_candidate(
        self, document: Document, record: Mapping[str, object], rounds: Sequence[Round], number: int
    ) -> Candidate:
        number = record.get("cut")
        options = self._choose_options(document, rounds, number)
        if type(number) is not int or not 1 <= number <= len(options):
            raise ParseError(f"cut {number!r} is not one of the {len(options)} cut points to choose from")
        point = options[number - 1]
        return Candidate(point.beginning, point.word, (Criterion(f"The next word is “{point.word}”.", 1),))

    def _choose_options(self, document: Document, rounds: Sequence[Round], number: int) -> list[CutPoint]:
        """Choose some untried cut points, in the order of the text. Equal arguments give the same choice."""
        earlier = {r.candidate.question for r in rounds if r.candidate}
        untried = [p for p in find_cut_points(document.text) if p.beginning not in earlier]
        chance = random.Random(f"{self.seed} {document.id} {number}")
        chosen = chance.sample(range(len(untried)), min(OPTIONS, len(untried)))
        return [untried[i] for i in sorted(chosen)]

    async def check_quality(self, document: Document, candidate: Candidate, attempt: int = 0) -> Quality:
        """Check whether the cut is worth attempting."""
        answer = normalize(candidate.reference_answer)
        checks = {
            "the cut is not followed by a word": not _WORD.fullmatch(answer),
            "the word is too short to test anything": len(answer) < 3,
            "the word already occurs in the beginning": answer in map(normalize, candidate.question.split()),
        }
        reason = next((fault for fault, is_found in checks.items() if is_found), "")
        return Quality(not reason, reason, candidate.hash)

    async def judge(self, candidate: Candidate, answer: str, seed: int) -> Judgement:
        return rubric.judge(candidate.rubric, [first_word(answer) == normalize(candidate.reference_answer)])

    def privileged(self, document: Document, candidate: Candidate) -> str:
        return excerpt(document.text)


def excerpt(text: str) -> str:
    """Cut a text to its first MAX_WORDS words; line breaks are kept."""
    words = list(re.finditer(r"\S+", text))
    return text.strip() if len(words) <= MAX_WORDS else text[: words[MAX_WORDS - 1].end()].strip()


def find_cut_points(text: str) -> list[CutPoint]:
    """List every place where a sentence can be cut: before each word except the first MIN_BEGINNING."""
    paragraphs = (" ".join(p.split()) for p in re.split(r"\n\s*\n", excerpt(text)))
    sentences = (s for p in paragraphs for s in re.split(r"(?<=[.!?])\s+", p))
    # Titles and unfinished sentences are left out.
    lists = (s.split() for s in sentences if s.endswith((".", "!", "?")))
    return [CutPoint(" ".join(words[:at]), words[at]) for words in lists for at in range(MIN_BEGINNING, len(words))]


def normalize(word: str) -> str:
    """Lower the case of a word and strip the punctuation around it."""
    return word.casefold().strip("\"'“”‘’()[]{}.,;:!?…*_-–—")


def first_word(answer: str) -> str:
    """Return the first word of a continuation, normalised; empty if it does not begin with a word."""
    return normalize("".join(answer.split()[:1]))


def _failures(rounds: Sequence[Round]) -> dict[str, list[str]]:
    """Group the rejected cut points of earlier rounds by kind of failure, the latest last."""
    groups: dict[str, list[str]] = {kind: [] for kind in Failure}
    for round in rounds:
        if round.candidate and round.verdict.failure:
            point = CutPoint(round.candidate.question, round.candidate.reference_answer)
            groups[round.verdict.failure].append(f"… {point.tail} [{point.word}]")
    return {kind: shown[-SHOWN_FAILURES:] for kind, shown in groups.items()}
