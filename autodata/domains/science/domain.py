"""The science domain: turns sample problems into new questions with one short answer (paper Sec. 3.3, App. C.3)."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from autodata.domains.science import compare, equivalence
from autodata.loop import acceptance, rubric
from autodata.loop import domain as base
from autodata.loop.agents import attempt_seed, make_object, make_text
from autodata.loop.checks.addressing import SPEAKS_OF_SOLVERS, list_hints, speaks_of_solvers
from autodata.loop.directing.diagnosis import diagnose_last
from autodata.loop.directing.outline import Outline
from autodata.loop.parsing import ParseError, read_boolean, read_text
from autodata.serving.request import Request
from autodata.types import Attempt, Candidate, Criterion, Document, Failure, Judgement, Message, Quality, Role, Round

# Paper Fig. 15: the challengers start from varied angles. The angles are our choice. There are ten, so that batches of
# four do not repeat the same four before the sixth batch.
ANGLES = (
    "Generalise: take a sample's mechanism to objects for which its formula fails, and ask for the closed form.",
    "Combine the ideas of two samples so that neither alone leads to the answer.",
    "Reverse a sample: give what it asks for, and ask for what it gives.",
    "Ask for a limit or a leading asymptotic term where the obvious estimate is wrong.",
    "Add a constraint or a symmetry that breaks the standard method.",
    "Ask which object it is: the one group, space, operator, law or theorem that satisfies several conditions.",
    "Move the core of a sample into another field that has the same structure.",
    "Count or classify: ask for a structured count whose naive version counts twice or misses cases.",
    "Ask for a spectrum, an invariant or a conserved quantity of a system that a sample leads to.",
    "Model a physical situation whose answer is a formula in the given symbols, with a step that is easy to overlook.",
)
MAX_QUESTION, MAX_ANSWER, MAX_DERIVATION, MAX_REASON = 3_000, 400, 4_000, 1_500
SHOWN_FAILURES = 6  # per group, the latest ones
SHOWN_ANSWERS = 2  # wrong final answers of the strong solver, to see why it failed
GROUNDING = "grounding"
_GROUPS = {
    Failure.TOO_EASY: "too_easy",
    Failure.NO_SIGNAL: "no_signal",
    Failure.TOO_HARD: "too_hard",
    Failure.SMALL_GAP: "small_gap",
    Failure.LOW_QUALITY: "screened_out",
}
# The derivation is written between question and answer, so that it can shape the answer; nobody else is shown it.
SCHEMA = make_object(
    {"question": make_text(MAX_QUESTION), "derivation": make_text(MAX_DERIVATION), "answer": make_text(MAX_ANSWER)}
)
# The screen solves the question before it judges the proposed answer, and writes its own result first.
SCREEN = make_object(
    {"own_answer": make_text(MAX_ANSWER), "reason": make_text(MAX_REASON), "promising": {"type": "boolean"}}
)
VERDICT = make_object({"reason": make_text(MAX_REASON), "equivalent": {"type": "boolean"}})
_NUMBER = r"(?:\\?[A-Za-z]\w{0,10}\s{0,3}=)?\s{0,3}(?:\\?[A-Za-z]?\w{0,10}\s{0,3}(?:≈|~|\\approx))?\s{0,3}[+-]?"
_INTEGER = re.compile(_NUMBER + r"[0-9][0-9,\s]*")
_DECIMAL = re.compile(_NUMBER + r"[0-9]*\.[0-9]")


class Domain(base.Domain):
    """Challengers propose in parallel, a screen chooses, both solvers answer, a judge compares with the reference."""

    def schemas(self) -> dict[Role, list[dict[str, object]]]:
        return {Role.CHALLENGER: [SCHEMA], Role.QUALITY_VERIFIER: [SCREEN], Role.JUDGE: [VERDICT]}

    def outline(self, document: Document) -> Outline:
        """Show the orchestrating model the samples whole; they are short."""
        return Outline(document.text)

    def challenge(self, document: Document, rounds: Sequence[Round], number: int) -> list[base.Challenge]:
        count = self.config.challengers
        first = (number - 1) // count * count  # each batch begins where the last one ended
        shown = {
            "document": document.text,
            "gate": acceptance.describe_gate(self.config.presets[self.config.preset]),
            "attempts": (self.config.weak_attempts, self.config.strong_attempts),
            **group_failures(rounds),
        }
        angles = [ANGLES[(first + i) % len(ANGLES)] for i in range(count)]
        return [base.Challenge({**shown, "angle": angle}, SCHEMA) for angle in angles]

    async def propose(
        self, document: Document, rounds: Sequence[Round], number: int, instruction: str
    ) -> list[Candidate | ParseError]:
        """Ask all challengers; a question that repeats another one of the batch becomes a ParseError."""
        proposals, questions = await super().propose(document, rounds, number, instruction), set()
        for at, proposal in enumerate(proposals):
            question = normalize(proposal.question) if isinstance(proposal, Candidate) else ""
            if question in questions:
                proposals[at] = ParseError("another challenger proposed the same question")
            questions |= {question} - {""}
        return proposals

    def read_candidate(
        self, document: Document, record: Mapping[str, object], rounds: Sequence[Round], number: int
    ) -> Candidate:
        question = read_text(record, "question", MAX_QUESTION)
        candidate = make_candidate(question, read_text(record, "answer", MAX_ANSWER))
        if normalize(candidate.question) in {normalize(r.candidate.question) for r in rounds if r.candidate}:
            raise ParseError("the same question as in an earlier round; an entirely new one is wanted")
        return candidate

    def find_baseline(self, document: Document) -> Candidate:
        """Take the sample problem itself: the paper's CoT arm trains on the problems that ground the other arm."""
        problem, answer = (document.fields.get(key) for key in ("problem_statement", "answer"))
        if not isinstance(problem, str) or not isinstance(answer, str) or not (problem.strip() and answer.strip()):
            raise base.Unsuitable(
                "arm=cot takes problems as they are, but this document has no `problem_statement` "
                "and `answer`; give such records, with documents.per_group=1"
            )
        kind = document.fields.get("answer_type", "")
        return make_candidate(problem.strip(), answer.strip(), origin=GROUNDING, answer_type=str(kind))

    async def check_quality(self, document: Document, candidate: Candidate, attempt: int = 0) -> Quality:
        """Check in code, then by the screen, whether solvers should attempt the question (paper Fig. 15, step 2)."""
        if candidate.labels.get("origin") == GROUNDING:
            return Quality(True, "a grounding problem, taken as it is", candidate.hash, {"checked_by": "code"})
        if faults := find_faults(document, candidate):
            return Quality(False, "; ".join(faults), candidate.hash, {"checked_by": "code"})
        slots = {"document": document.text, "candidate": candidate, "hints": list_hints(candidate.question)}
        seed = attempt_seed(self.seed, document.id, attempt, Role.QUALITY_VERIFIER, 0)
        messages = self.prompts.render("screen", slots)
        request = Request(Role.QUALITY_VERIFIER, messages, seed, attempt * self.asks, SCREEN)
        try:
            is_promising, reason = await self._decide(request, "promising")
        except ParseError as error:
            raise base.JudgeFailed(f"screen, {error}") from error
        details = {"checked_by": "screen", "reason": reason}
        return Quality(is_promising, "" if is_promising else reason, candidate.hash, details)

    async def judge(self, candidate: Candidate, answer: str, seed: int) -> Judgement:
        """Judge right or wrong (paper Sec. 3.3). The judge decides unless algebra shows that the answers are equal."""
        final = compare.read_answer(answer)
        if await equivalence.is_equal(candidate.reference_answer, final):
            return rubric.judge(candidate.rubric, [True], "equal to the reference, by algebra")
        request = Request(Role.JUDGE, self._render_judge(candidate, final), seed, schema=VERDICT)
        try:
            is_equal, reason = await self._decide(request, "equivalent")
        except ParseError as error:
            return Judgement(None, None, f"judge failed: {error}")
        return rubric.judge(candidate.rubric, [is_equal], reason)

    def describe_judging(self, candidate: Candidate, answer: str) -> base.Judging:
        """Describe `judge` without its algebra, which needs a process of its own; so the judge is asked more often."""
        return base.Judging(Path(compare.__file__), (base.JudgeCall(self._render_judge(candidate, answer), 0),))

    def _render_judge(self, candidate: Candidate, final: str) -> tuple[Message, ...]:
        slots = {"question": candidate.question, "reference": candidate.reference_answer, "answer": final}
        return self.prompts.render("equivalence_judge", slots)

    async def _decide(self, request: Request, key: str) -> tuple[bool, str]:
        return await self.agents.ask_until_read(request, lambda record: read_decision(record, key), self.asks)


def make_candidate(question: str, answer: str, **labels: str) -> Candidate:
    """Make a candidate with one criterion: the final answer is right or wrong."""
    answer = " ".join(answer.split())
    return Candidate(question, answer, (Criterion(f"The final answer is equivalent to: {answer}", 1),), labels=labels)


def read_decision(record: Mapping[str, object], key: str) -> tuple[bool, str]:
    """Read a verdict and its reason. Raises ParseError unless the verdict is a boolean, or a word for one."""
    decision = read_boolean(record.get(key))
    if decision is None:
        raise ParseError(f"`{key}` is not true or false")
    own = f"own answer: {record['own_answer']}; " if record.get("own_answer") else ""
    return decision, f"{own}{record.get('reason') or ''}"[:MAX_REASON]


def find_faults(document: Document, candidate: Candidate) -> list[str]:
    """List the faults that make a proposal unfit whatever a model says about it (paper Fig. 15)."""
    question = normalize(candidate.question)
    answer = re.sub(r"[${}]", "", compare.unwrap(candidate.reference_answer)).strip()
    checks = {
        "the question repeats a sample": question in normalize(document.text),
        "the answer is a bare integer, which can be guessed": _INTEGER.fullmatch(answer),
        "the answer is a decimal number, which depends on rounding": _DECIMAL.match(answer),
        SPEAKS_OF_SOLVERS: speaks_of_solvers(candidate.question),
        "the question asks more than one thing": candidate.question.count("?") > 1,
    }
    return [fault for fault, is_found in checks.items() if is_found]


def group_failures(rounds: Sequence[Round]) -> dict[str, list[object]]:
    """Group earlier questions by how they failed, and diagnose the last one that was measured."""
    groups: dict[str, list[object]] = {name: [] for name in _GROUPS.values()}
    for round in rounds:
        # A round that ran out of its token budget says nothing about how hard its question is, so it is in no group.
        if round.candidate and round.verdict.failure in _GROUPS:
            groups[_GROUPS[round.verdict.failure]].append(
                {
                    "question": round.candidate.question,
                    "answer": round.candidate.reference_answer,
                    "weak": _count(round.weak),
                    "strong": _count(round.strong),
                    "wrong": _list_wrong(round.strong),
                    "reason": round.verdict.reason,
                }
            )
    malformed = [r.verdict.reason for r in rounds[-SHOWN_FAILURES:] if not r.candidate][-1:]
    shown = {name: group[-SHOWN_FAILURES:] for name, group in groups.items()}
    return {**shown, "diagnosis": diagnose_last(rounds), "malformed": malformed}


def normalize(text: str) -> str:
    """Reduce a text to its letters, digits and operators, which are what tells two problems apart."""
    return " ".join(re.findall(r"\w+|[-+*/^=<>]", text.casefold()))


def _count(attempts: Sequence[Attempt]) -> str:
    judged = [a.judgement.met for a in attempts if a.judgement.met is not None]
    return f"{judged.count((True,))}/{len(judged)}"


def _list_wrong(attempts: Sequence[Attempt]) -> list[str]:
    """List the commonest wrong final answers (paper Fig. 15, step 4: read the attempts to see why)."""
    wrong = Counter(compare.read_answer(a.answer)[:MAX_ANSWER] for a in attempts if a.judgement.met == (False,))
    return [answer for answer, _ in wrong.most_common(SHOWN_ANSWERS) if answer]
