"""Computes the numbers of a judge audit, and writes their tables and the page for a reader."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from autodata.stats.agreement import Agreement, Ratings, compare_judges, compare_repeats, mean_difference
from autodata.stats.writing import write_estimate, write_share, write_table
from autodata.types import Attempt, Candidate, Judgement, Role

MAX_LISTED = 10  # attempts on the page, those where verdicts differ most
SIGNS = ("all", "positive", "negative")  # groups of criteria, by the sign of their weight
_NOTES = """\
- *Unreadable first asks* are first replies without a complete set of verdicts; the judge was asked again. *Lost
  judgements* were still unreadable after all retries. Neither counts as a disagreement: a lost verdict is left out of
  every comparison that needs it (column *left out*).
- *Same verdict* is the share of pairs of verdicts on one criterion that are equal. It is high by chance alone if
  nearly all criteria are met, or nearly none. Alpha (Krippendorff, nominal) and kappa (Cohen) are 1 for full agreement
  and 0 for agreement by chance.
- *Compared* counts criteria where a judge is repeated; between two judges it counts each repeat of a criterion, the
  first of one judge against the first of the other, and so on.
- Negative criteria name mistakes: *met* costs points there.
- Brackets hold 95 % intervals over whole documents, and n is the number of documents.
- A judge at temperature 0 repeats its verdicts whether they are right or wrong; only a second judge shows more.
"""
Judgements = Sequence[Sequence[Judgement]]  # for each attempt, one judgement per repeat


@dataclass(frozen=True)
class JudgedAttempt:
    """An attempt of the audited run, with its document, round, solver and candidate."""

    document_id: str
    round: int
    solver: Role
    candidate: Candidate
    attempt: Attempt


@dataclass(frozen=True)
class Opinions:
    """What one judge said."""

    name: str  # "judge" or "second judge"
    model: str
    temperature: float
    first_asks: int
    unreadable: int  # first asks whose reply could not be read
    judgements: Judgements


JudgedGroup = tuple[JudgedAttempt, Sequence[Judgement]]


def measure(chosen: Sequence[JudgedAttempt], judges: Sequence[Opinions]) -> dict[str, Any]:
    """Compute every number of the audit."""
    repeated = {f"{j.name}, repeated": list(zip(chosen, j.judgements, strict=True)) for j in judges}
    agreement = {name: _by_sign(compare_repeats, groups) for name, groups in repeated.items()}
    differences = {}
    stored = [[judged.attempt.judgement] * len(new) for judged, new in zip(chosen, judges[0].judgements, strict=True)]
    sides = {"stored verdicts": stored} | {judge.name: judge.judgements for judge in judges}
    for first, second in combinations(sides, 2):
        pairs = _pair(chosen, sides[first], sides[second])
        agreement[f"{first} and {second}"] = _by_sign(compare_judges, pairs)
        differences[f"{second} − {first.removesuffix(' verdicts')}"] = _compare_scores(pairs)
    return {
        "attempts": len(chosen),
        "documents": len({judged.document_id for judged in chosen}),
        "criteria": sum(len(judged.candidate.rubric) for judged in chosen),
        "judges": {judge.name: _measure_loss(judge) for judge in judges},
        "agreement": agreement,
        "score_difference": differences,
        "disagreements": find_disagreements(chosen, judges),
    }


def find_disagreements(chosen: Sequence[JudgedAttempt], judges: Sequence[Opinions]) -> list[dict[str, Any]]:
    """List the attempts whose verdicts differ most, and on which criteria. Stored verdicts count too."""
    disagreements = []
    for at, judged in enumerate(chosen):
        votes = {"stored": (judged.attempt.judgement,), **{judge.name: judge.judgements[at] for judge in judges}}
        criteria = [_count_votes(judged, number, votes) for number in range(1, len(judged.candidate.rubric) + 1)]
        if split := sorted((c for c in criteria if c["split"]), key=lambda c: -c["split"]):
            place = {"document_id": judged.document_id, "round": judged.round, "solver": str(judged.solver)}
            total = sum(c["split"] for c in split)
            disagreements.append({**place, "attempt": judged.attempt.index, "split": total, "criteria": split})
    return sorted(disagreements, key=lambda attempt: -attempt["split"])[:MAX_LISTED]


def list_losses(results: dict[str, Any]) -> list[list[str]]:
    """List how many verdicts each judge lost: a header, then one row per judge."""
    head = ["judge", "model", "temperature", "unreadable first asks", "lost judgements", "criteria met"]
    shares = ("unreadable", "lost", "met")
    return [head] + [
        [name, judge["model"], f"{judge['temperature']:g}", *(write_share(*judge[key]) for key in shares)]
        for name, judge in results["judges"].items()
    ]


def list_agreement(results: dict[str, Any]) -> list[list[str]]:
    """List the agreement: a header, then one row per comparison and sign of weight."""
    head = ["verdicts", "criteria", "compared", "left out", "same verdict", "alpha", "kappa"]
    rows = [head]
    for name, signs in results["agreement"].items():
        for sign, agreement in signs.items():
            counts = [f"{agreement[key]:,}" for key in ("compared", "left_out")]
            rows.append(
                [name, sign, *counts, *(write_estimate(agreement[key]) for key in ("share", "alpha", "kappa"))]
            )
    return rows


def list_differences(results: dict[str, Any]) -> list[list[str]]:
    """List the mean differences of scores: a header, then one row each."""
    return [["scores", "mean difference"], *([n, write_estimate(f)] for n, f in results["score_difference"].items())]


def to_markdown(results: dict[str, Any]) -> str:
    """Write the page for a reader, in Markdown."""
    listed = _list_disagreements(results["disagreements"])
    parts = [
        f"# Audit of the judge of {results['generation']}",
        f"Domain: {results['domain']}. Documents: {results['documents']:,}. Attempts: {results['attempts']:,}, each "
        f"judged {results['repeats']} times. Criteria: {results['criteria']:,}. The stored verdicts are those of "
        f"{results['stored_judge']}.",
        "## Lost verdicts",
        write_table(list_losses(results)),
        "## Agreement",
        write_table(list_agreement(results)),
        "## Scores",
        write_table(list_differences(results)),
        "## Attempts whose verdicts differ most",
        write_table(listed) if len(listed) > 1 else "All verdicts are the same.",
        "## How to read this",
        _NOTES,
    ]
    return "\n\n".join(parts)


def _by_sign(compare: Callable[[Sequence[Ratings]], Agreement], groups: Sequence[JudgedGroup]) -> dict[str, Any]:
    return {sign: asdict(compare(_rate(groups, sign))) for sign in SIGNS}


def _rate(groups: Sequence[JudgedGroup], sign: str) -> list[Ratings]:
    """Collect the verdicts on each criterion whose weight has the sign."""
    return [
        Ratings(judged.document_id, tuple(None if j.met is None else j.met[at] for j in judgements))
        for judged, judgements in groups
        for at, criterion in enumerate(judged.candidate.rubric)
        if sign in ("all", "positive" if criterion.weight > 0 else "negative")
    ]


def _pair(chosen: Sequence[JudgedAttempt], first: Judgements, second: Judgements) -> list[JudgedGroup]:
    """Pair the judgements of two judges by attempt and repeat."""
    judgements = zip(chosen, first, second, strict=True)
    return [(judged, pair) for judged, ones, others in judgements for pair in zip(ones, others, strict=True)]


def _compare_scores(pairs: Sequence[JudgedGroup]) -> dict[str, Any]:
    estimate = mean_difference(
        (judged.document_id, after.score - before.score)
        for judged, (before, after) in pairs
        if before.score is not None and after.score is not None
    )
    return asdict(estimate)


def _measure_loss(judge: Opinions) -> dict[str, Any]:
    judgements = [judgement for repeats in judge.judgements for judgement in repeats]
    verdicts = [met for judgement in judgements for met in judgement.met or ()]
    return {
        "model": judge.model,
        "temperature": judge.temperature,
        "unreadable": [judge.unreadable, judge.first_asks],
        "lost": [sum(judgement.met is None for judgement in judgements), len(judgements)],
        "met": [sum(verdicts), len(verdicts)],
    }


def _count_votes(judged: JudgedAttempt, number: int, votes: dict[str, Sequence[Judgement]]) -> dict[str, Any]:
    """Count the votes on criterion `number` (from 1). `split` is the share of votes on the smaller side."""
    met = {name: [j.met[number - 1] for j in judgements if j.met is not None] for name, judgements in votes.items()}
    all_votes = [vote for ballots in met.values() for vote in ballots]
    criterion = judged.candidate.rubric[number - 1]
    return {
        "criterion": number,
        "weight": criterion.weight,
        "text": criterion.text,
        "met": {name: [sum(ballots), len(ballots)] for name, ballots in met.items()},
        "split": min(sum(all_votes), len(all_votes) - sum(all_votes)) / len(all_votes),
    }


def _list_disagreements(disagreements: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = [["document", "round", "solver, attempt", "criterion (weight): met in"]]
    for a in disagreements:
        votes = "; ".join(map(_show_votes, a["criteria"]))
        rows.append([a["document_id"], str(a["round"]), f"{a['solver']}, {a['attempt']}", votes])
    return rows


def _show_votes(criterion: dict[str, Any]) -> str:
    votes = ", ".join(f"{name} {met} of {total}" for name, (met, total) in criterion["met"].items())
    return f"{criterion['criterion']} ({criterion['weight']:+d}): {votes}"
