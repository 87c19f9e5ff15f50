"""The skills domain: a solver ends a sentence about a passage of the document, and code knows the right end."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodata.domains.skills import compare
from autodata.domains.skills.compare import PUNCTUATION, is_right, read_answer
from autodata.domains.skills.tasks import SKILLS, Task
from autodata.loop import domain as base
from autodata.loop import rubric
from autodata.loop.agents import make_object
from autodata.loop.parsing import ParseError
from autodata.types import Candidate, Criterion, Document, Failure, Judgement, Quality, Role, Round

LENGTHS = (5, 8, 12)  # words of a passage, by difficulty: 1, 2, 3
OPTIONS = 6  # skills shown per round
PASSAGES = 3  # sentences shown per round
SHEET = 4  # lines of the answer sheet that only a privileged solver sees


@dataclass(frozen=True)
class Option:
    """A skill at a difficulty, which the challenger may choose."""

    skill: str
    difficulty: int  # from 1

    @property
    def length(self) -> int:
        """The number of words of its passage."""
        return LENGTHS[self.difficulty - 1]


class Domain(base.Domain):
    """Gives each candidate one criterion, and checks in code whether the answer is the right one."""

    def challenge(self, document: Document, rounds: Sequence[Round], number: int) -> list[base.Challenge]:
        sentences, options = self._choose_sentences(document, number), self._choose_options(document, rounds, number)
        if not sentences or not options:
            return []
        slots = {"sentences": sentences, "options": options, "findings": list_findings(rounds)}
        return [base.Challenge(slots, _choose_schema(len(sentences), len(options)))]

    def schemas(self) -> dict[Role, list[dict[str, object]]]:
        return {Role.CHALLENGER: [_choose_schema(10, 10)]}

    def read_candidate(
        self, document: Document, record: Mapping[str, object], rounds: Sequence[Round], number: int
    ) -> Candidate:
        sentence = _pick(record, "passage", self._choose_sentences(document, number))
        option = _pick(record, "skill", self._choose_options(document, rounds, number))
        words = sentence.split()[: option.length]
        tasks = SKILLS[option.skill](strip_words(words))
        earlier = {r.candidate.question for r in rounds if r.candidate}
        passage = " ".join(words).strip(PUNCTUATION + " ")
        questions = [(task, f"{passage}\n{task.beginning}") for task in tasks if is_readable(task.answer)]
        new = [(task, question) for task, question in questions if question not in earlier]
        if not new:
            raise ParseError(f"this passage has no new question on the skill “{option.skill}”")
        task, question = random.Random(f"{self.seed} {document.id} {number} task").choice(new)
        criterion = Criterion(f"The answer is “{task.answer}”.", 1)
        return Candidate(question, task.answer, (criterion,), labels=vars(option))

    def _choose_sentences(self, document: Document, number: int) -> list[str]:
        """Choose some sentences, in the order of the text. Equal arguments give the same choice."""
        sentences = find_sentences(document.text)
        chance = random.Random(f"{self.seed} {document.id} {number} sentences")
        chosen = chance.sample(range(len(sentences)), min(PASSAGES, len(sentences)))
        return [sentences[i] for i in sorted(chosen)]

    def _choose_options(self, document: Document, rounds: Sequence[Round], number: int) -> list[Option]:
        """Choose some skills, each at a difficulty that earlier rounds leave open. Equal arguments, same choice."""
        chance = random.Random(f"{self.seed} {document.id} {number} options")
        open_options = find_open_options(rounds)
        skills = list(dict.fromkeys(option.skill for option in open_options))
        chosen = chance.sample(skills, min(OPTIONS, len(skills)))
        return [chance.choice([o for o in open_options if o.skill == skill]) for skill in chosen]

    async def check_quality(self, document: Document, candidate: Candidate, attempt: int = 0) -> Quality:
        """Pass every candidate: code wrote the question, and it has one right answer by construction."""
        return Quality(True, "", candidate.hash)

    async def judge(self, candidate: Candidate, answer: str, seed: int) -> Judgement:
        return rubric.judge(candidate.rubric, [is_right(candidate.reference_answer, read_answer(answer))])

    def describe_judging(self, candidate: Candidate, answer: str) -> base.Judging:
        """Describe `judge`, which compares two texts and asks nobody."""
        return base.Judging(Path(compare.__file__), ())

    def privileged(self, document: Document, candidate: Candidate) -> str:
        """Write an answer sheet: some sentences about the passage with their right ends, the asked one among them."""
        passage, _, beginning = candidate.question.partition("\n")
        words = strip_words(passage.split())
        others = [task for skill in SKILLS.values() for task in skill(words) if task.beginning != beginning]
        chance = random.Random(candidate.hash)
        tasks = [Task(beginning, candidate.reference_answer), *chance.sample(others, min(SHEET - 1, len(others)))]
        return "\n".join(f"{task.beginning} “{task.answer}”." for task in chance.sample(tasks, len(tasks)))


def _pick(record: Mapping[str, object], key: str, choices: Sequence[Any]) -> Any:
    """Return the choice whose number, from 1, a reply names. Raises ParseError."""
    number = record.get(key)
    if type(number) is not int or not 1 <= number <= len(choices):
        raise ParseError(f"{key} {number!r} is not a number from 1 to {len(choices)}")
    return choices[number - 1]


def is_readable(answer: str) -> bool:
    """Return True if a solver can give this answer: a quotation mark within a word would end it too early."""
    return is_right(answer, read_answer(answer))


def find_sentences(text: str) -> list[str]:
    """List the sentences that begin with a whole passage of words; titles and unfinished sentences are left out."""
    paragraphs = (" ".join(p.split()) for p in re.split(r"\n\s*\n", text))
    sentences = (s for p in paragraphs for s in re.split(r"(?<=[.!?])\s+", p))
    finished = (s for s in sentences if s.endswith((".", "!", "?")))
    return [s for s in finished if len(strip_words(s.split()[: LENGTHS[0]])) == LENGTHS[0]]


def strip_words(words: Sequence[str]) -> list[str]:
    """Strip the punctuation around words; words of punctuation alone are left out."""
    return [plain for word in words if (plain := word.strip(PUNCTUATION))]


def find_open_options(rounds: Sequence[Round]) -> list[Option]:
    """List the options that no earlier round rules out.

    A skill that was too easy may only get harder, one that was never answered rightly only easier.
    """
    lowest, highest = dict.fromkeys(SKILLS, 1), dict.fromkeys(SKILLS, len(LENGTHS))
    for option, failure in _list_failures(rounds):
        if failure is Failure.TOO_EASY:
            lowest[option.skill] = max(lowest[option.skill], option.difficulty + 1)
        else:
            highest[option.skill] = min(highest[option.skill], option.difficulty - 1)
    return [Option(skill, level) for skill in SKILLS for level in range(lowest[skill], highest[skill] + 1)]


def list_findings(rounds: Sequence[Round]) -> dict[str, list[Option]]:
    """Group the options of earlier rounds by how they failed, in the order of the rounds."""
    groups: dict[str, list[Option]] = {kind: [] for kind in Failure}
    for option, failure in _list_failures(rounds):
        groups[failure].append(option)
    return groups


def _list_failures(rounds: Sequence[Round]) -> Iterator[tuple[Option, Failure]]:
    for round in rounds:
        if round.candidate and round.verdict.failure:
            labels = round.candidate.labels
            yield Option(str(labels["skill"]), int(labels["difficulty"])), round.verdict.failure


def _choose_schema(passages: int, skills: int) -> dict[str, object]:
    """Make the schema of a choice. Choices count from 1 in every round, so the server compiles one grammar for all."""
    numbers = {"passage": passages, "skill": skills}
    return make_object({k: {"type": "integer", "enum": list(range(1, n + 1))} for k, n in numbers.items()})
