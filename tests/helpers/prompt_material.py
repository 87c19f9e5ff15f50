"""Holds one fixed example of each input of a prompt: documents, candidates and failed rounds of each domain."""

import json
from collections.abc import Sequence
from pathlib import Path

from autodata.domains.legal import packet, post_filter
from autodata.domains.science.domain import make_candidate
from autodata.loop import rubric
from autodata.types import (
    Attempt,
    Candidate,
    Criterion,
    Document,
    End,
    Failure,
    Outcome,
    Quality,
    Round,
    Trajectory,
    Verdict,
)

RECIPES = Path(__file__).parent.parent.parent / "recipes"
ANSWER = "Sorting decides. Sorted by position, one pass of the head serves a whole batch, whatever its size."


def read_document(name: str) -> Document:
    path = RECIPES / "demo" / "documents" / f"{name}.txt"
    return Document(name, path.read_text(encoding="utf-8").strip(), path.name)


def read_problems() -> Document:
    """Read two grounding problems, joined as a corpus joins them."""
    lines = (RECIPES / "science" / "documents" / "problems.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    problems = [
        "Topic: {topic}\nProblem: {problem_statement}\nAnswer: {answer}".format(**json.loads(s)) for s in lines
    ]
    return Document("problems", "\n\n".join(problems), "problems.jsonl:1")


def weigh(positive: Sequence[str], negative: Sequence[str], capability: str = "") -> tuple[Criterion, ...]:
    return (
        *(Criterion(text, 3 + 2 * (i % 3), capability) for i, text in enumerate(positive)),
        *(Criterion(text, -4, capability) for text in negative),
    )


def attempt(candidate: Candidate, index: int, met: int, answer: str) -> Attempt:
    """Make an attempt that meets the first `met` criteria."""
    judgement = rubric.judge(candidate.rubric, [i < met for i in range(len(candidate.rubric))], "as the answer says")
    return Attempt(index, index, Outcome.ANSWERED, answer, "", 200, 40, judgement)


def attempts(candidate: Candidate, *met: int, answer: str = ANSWER) -> tuple[Attempt, ...]:
    return tuple(attempt(candidate, i, n, answer) for i, n in enumerate(met))


def fail(number: int, candidate: Candidate, failure: Failure, reason: str, **values: object) -> Round:
    fields = {"quality": None, "weak": (), "strong": (), "instruction": "Ask what the sorting costs."} | values
    return Round(number, candidate, verdict=Verdict(False, failure, reason), **fields)


def fail_in_every_way(candidates: Sequence[Candidate], answer: str = ANSWER) -> list[Round]:
    """Make four failed rounds: too easy, too hard, of low quality, and unreadable."""
    easy, hard, bad = candidates
    earning = sum(c.weight > 0 for c in easy.rubric)
    fault = "A well-read person answers it without the material."
    return [
        fail(
            1,
            easy,
            Failure.TOO_EASY,
            "weak mean 1.000, best 1.000",
            weak=attempts(easy, earning, earning, answer=answer),
        ),
        fail(
            2,
            hard,
            Failure.TOO_HARD,
            "strong mean 0.500",
            weak=attempts(hard, 0, 0, answer=answer),
            strong=attempts(hard, 0, earning, answer=answer),
        ),
        fail(3, bad, Failure.LOW_QUALITY, fault, quality=Quality(False, fault, bad.hash)),
        Round(4, None, None, (), (), Verdict(False, Failure.MALFORMED, "no text in `question`")),
    ]


def give_up(document: Document, rounds: Sequence[Round]) -> Trajectory:
    return Trajectory(document.id, document.source, "agentic", "prose", tuple(rounds), End.ROUNDS_USED)


# ── computer science ──

PAPER = read_document("cs_01")
_STEPS = ("Names the order of writes as the cause", "Says that the head moves once per batch",
          "Relates gain to seek time", "Says that larger batches add little", "Predicts a smaller gain for reads",
          "Says that a loss of power costs at most one batch", "Weighs flash wear against throughput")  # fmt: skip
_ERRORS = (
    "Says that batch size causes most of the gain",
    "Claims a gain for random reads",
    "Says that recovery needs a change to the kernel",
)


def ask_of_paper(question: str) -> Candidate:
    labels = {"question_type": "prediction under constraints", "reasoning_skills": ["causality", "trade-offs"]}
    context = (
        "A flash cache absorbs small writes for slow archival disks and flushes them in batches, sorted by position. "
        "The disks have one head, which needs 8 ms to move. Batches can hold 4 to 256 writes, and a flush must finish "
        "before the next one begins."
    )
    return Candidate(question, "Most of the gain comes from sorting.", weigh(_STEPS, _ERRORS), context, labels)


CS = [
    ask_of_paper(text)
    for text in (
        "Which of batch size and write order would you change first, and what would you expect of it?",
        "How would the gain change on a disk whose head never moves?",
        "What does a workload of random reads gain, and why?",
        "Batches are halved and the order of writes is kept: what happens to throughput?",
    )
]

# ── law ──

OPINION = read_document("law_01")
EXTRACT = {
    "document_type": "appellate opinion",
    "topic_keywords": ["commercial leases", "waiver", "repairs"],
    "suitability_note": "It gives reasons for a principle that carries over.",
    "suitable_for_synthetic_question": True,
    "issues": ["Does staying in leaking premises waive the right to withhold rent?"],
    "facts": "Water came through a ceiling; three notices went unanswered; the tenant stayed for two months.",
    "holdings": "Giving the landlord a reasonable time for repairs is no waiver.",
}
TARGETS = {
    "primary_focus": ["issue_spotting", "applying_exceptions"],
    "secondary_focus": ["remedies"],
    "rewards_summary": "Weighing time and notice.",
    "penalises_summary": "Haste.",
}
_POINTS = [
    f"States what follows from {fact}"
    for fact in (
        "the first letter",
        "the second letter",
        "the silence of the landlord",
        "the weeks that the shop stayed open",
        "the damage to the machines",
        "the unpaid rent",
        "the term of the lease",
        "the use that was agreed",
        "the cost of repair",
        "the reasonable time",
        "the lack of a waiver clause",
        "the threat of eviction",
        "the way to set off rent",
        "the need for evidence",
    )
]


def ask_of_law(question: str) -> Candidate:
    criteria = weigh(_POINTS[:7], (), "issue_spotting") + weigh(_POINTS[7:], (), "applying_exceptions")
    criteria += weigh((), ["States that staying is always a waiver"], "avoiding_errors")
    return Candidate(question, "", criteria, labels={"target_capabilities": TARGETS})


LEGAL = [
    ask_of_law(text)
    for text in (
        "My laundry floods whenever it rains. I wrote twice and stayed. Do I owe the rent for those months?",
        "My landlord never answered my letters about the roof. I stayed six weeks. Can he still evict me?",
    )
]
LEGAL_ANSWER = "You probably do not owe all of it: you gave notice and waited a reasonable time."
REVIEW = {"weak_pattern": "criteria 1 to 3 in 4 of 5", "strong_pattern": "1 to 12 in 3 of 3",
          "gap_interpretation": "fertile on criteria 4 to 9", "rubric_concerns": ["criterion 14 can be read two ways"],
          "grpo_suitability": "low", "verdict": "improve", "verdict_reason": "A deviation of 2 points teaches little.",
          "suggestion_for_writer": "Let the second letter arrive late."}  # fmt: skip
LEGAL_WEAK, LEGAL_STRONG = (attempts(LEGAL[1], *met, answer=LEGAL_ANSWER) for met in ((3, 3, 4, 2, 3), (12, 13, 12)))


def send_back() -> Round:
    """Make a measured question with the review of the loop-judge and the numbers of the code."""
    weak, strong = (attempts(LEGAL[0], *met, answer=LEGAL_ANSWER) for met in ((3, 3, 3, 3, 4), (12, 12, 12)))
    findings = post_filter.inspect(LEGAL[0].question, 1000)
    measured = packet.build(LEGAL[0], weak, strong, findings, [])
    review = {"loop_judge": REVIEW, "post_filter_flags": [], "post_filter_overrides": [], **measured.numbers()}
    return fail(1, LEGAL[0], Failure.IMPROVE, REVIEW["verdict_reason"], weak=weak, strong=strong, review=review)


# ── science ──

PROBLEMS = read_problems()
SCIENCE = [
    make_candidate(question, answer)
    for question, answer in (
        ("Give the largest eigenvalue of the Laplacian of the cycle on $2m$ vertices.", "$4$, for every $m$"),
        ("Give the speed of a bead that leaves a rotating wire of length $2a$.", r"$\omega a\sqrt{7}$"),
        ("Which graph on $n$ vertices has the same spectrum as its complement?", "none for even $n$"),
        ("Give the number of spanning trees of the wheel on $n+1$ vertices.", r"$L_{2n} - 2$"),
    )
]
SCIENCE_ANSWER = "The two-sided angle gives the count.\n\nFinal answer: $L_{2n} + 2$"

# ── skills ──

PASSAGE = "A flash cache absorbs small writes for slow archival disks"


def ask_of_passage(skill: str, difficulty: int, words: int, beginning: str, answer: str) -> Candidate:
    question = f"{' '.join(PASSAGE.split()[:words])}\n{beginning}"
    labels = {"skill": skill, "difficulty": difficulty}
    return Candidate(question, answer, (Criterion(f"The answer is “{answer}”.", 1),), labels=labels)


SKILLS = [
    ask_of_passage("first word", 1, 5, "The first word is", "A"),
    ask_of_passage("backwards", 2, 8, "Backwards “cache” is", "ehcac"),
    ask_of_passage("number of words", 2, 8, "The number of words is", "8"),
    ask_of_passage("next word", 1, 5, "The word right after “flash” is", "cache"),
]


def fail_by_skill() -> list[Round]:
    """Make three failed rounds: too easy, never answered rightly, and too hard even with the answer sheet."""
    easy, silent, hard, _ = SKILLS
    return [
        fail(1, easy, Failure.TOO_EASY, "weak mean 1.000", weak=attempts(easy, 1, 1)),
        fail(2, silent, Failure.NO_SIGNAL, "weak mean 0.000", weak=attempts(silent, 0, 0)),
        fail(3, hard, Failure.TOO_HARD, "strong mean 0.500", weak=attempts(hard, 0, 1), strong=attempts(hard, 0, 1)),
    ]
