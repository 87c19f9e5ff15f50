"""Tests the rules of the legal domain: patterns, weights, readers of replies, and the review packet."""

from dataclasses import replace

import pytest

from autodata.domains.legal import extractor, loop_judge, packet, post_filter, writer
from autodata.loop.parsing import ParseError
from autodata.types import Attempt, Candidate, Criterion, Judgement, Outcome, Round, Verdict
from tests.test_legal import EXTRACT, REVIEW, SENT_BACK, proposal


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("The Court of  Appeals said so", ["court of appeals"]),
        ("the court, of appeals it had many", []),
        ("the Supreme Court\nof Ohio", ["supreme court of"]),
        ("The Supreme Court once", []),
        ("In the case of rain", ["in the case of"]),
        ("In that case of rain", []),
        ("In re Smith", ["in re"]),
        ("in real life, in re-reading", []),
        ("You are an adviser", ["you are an"]),
        ("you are another", []),
        ("Act as my adviser", ["act as"]),
        ("the contract as agreed, he acts as if", []),
        ("as a law clerk", ["as a law clerk"]),
        ("as a clerk at law", []),
        ("draft the arguments", ["draft the arguments"]),
        ("draft an argument", []),
        ("Draft the brief", ["draft the brief"]),
        ("draft the briefing", []),
        ("The trial court held", ["the trial court held"]),
        ("the trial court heard", []),
        ("on\u00a0appeal", ["on appeal"]),
        ("upon appealing", []),
        ("in 1800", ["a year from 1800 to 1939"]),
        ("in 1799", []),
        ("by 1899.", ["a year from 1800 to 1939"]),
        ("in the 1900s", ["a year from 1800 to 1939"]),
        ("since 1939,", ["a year from 1800 to 1939"]),
        ("since 1940", []),
        ("for $1850, 1,850 or 1850.50 a month, unit 21850", []),
    ],
)
def test_patterns_on_both_sides(text, hits):
    assert list(post_filter.inspect(text, None).case_recap) == hits


@pytest.mark.parametrize(("weight_class", "weight", "is_read"), [
    ("critical", 10, True), ("critical", 8, True), ("critical", 7, False), ("critical", 11, False),
    ("important", 7, True), ("important", "+5", True), ("important", 8, False), ("important", 4, False),
    ("supporting", 4, True), ("supporting", 2, True), ("supporting", 5, False), ("supporting", 1, False),
    ("mistake", 5, False), ("vital", 9, False),
])  # fmt: skip
def test_weights_lie_in_the_band_of_their_class(weight_class, weight, is_read):
    record = proposal(weight_class=weight_class, weight=weight)
    if is_read:
        assert writer.read_candidate(record).rubric[0].weight == int(weight)
    else:
        with pytest.raises(ParseError, match="criterion 1: weight"):
            writer.read_candidate(record)


@pytest.mark.parametrize(("weight", "is_read"), [(-1, True), (-10, True), (10, True), (-11, False)])
def test_a_mistake_costs_one_to_ten_points(weight, is_read):
    record = proposal(category="negative", weight_class="mistake", weight=weight)
    if is_read:
        assert writer.read_candidate(record).rubric[0].weight == -abs(weight)
    else:
        with pytest.raises(ParseError, match="which is -10 to -1"):
            writer.read_candidate(record)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": 2}, "criterion 1 has the number 2"),
        ({"number": None}, "not a whole number"),
        ({"capability": " ?"}, "criterion 1 names no capability"),
        ({"category": "neutral"}, "neither positive nor negative"),
    ],
)
def test_a_criterion_must_be_complete(change, reason):
    with pytest.raises(ParseError, match=reason):
        writer.read_candidate(proposal(**change))


def test_a_proposal_must_say_what_it_aims_at():
    record = proposal()
    assert writer.read_candidate(record).rubric[0].capability == "issue_spotting"
    with pytest.raises(ParseError, match="target_capabilities"):
        writer.read_candidate(record | {"target_capabilities": ["notice"]})


@pytest.mark.parametrize("missing", [k for k in EXTRACT if k != "suitability_note"])
def test_an_extract_must_be_complete(missing):
    assert extractor.read_extract(EXTRACT) == EXTRACT
    with pytest.raises(ParseError, match=missing):
        extractor.read_extract({k: v for k, v in EXTRACT.items() if k != missing})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verdict": "accept or improve"}, "not one of accept, improve"),
        ({"grpo_suitability": "fair"}, "not one of high, medium, low"),
        ({"verdict": "improve"}, "suggestion_for_writer"),
        ({"verdict_reason": ""}, "verdict_reason"),
        ({"rubric_concerns": "none"}, "rubric_concerns"),
    ],
)
def test_half_a_review_is_none(change, reason):
    assert loop_judge.read_review(REVIEW | {"verdict": " Accept "}) == REVIEW
    with pytest.raises(ParseError, match=reason):
        loop_judge.read_review(REVIEW | change)


def attempt(index: int, met: tuple[bool, ...] | None, answer: str = "a") -> Attempt:
    outcome = Outcome.ANSWERED if answer.strip() else Outcome.CUT_OFF
    return Attempt(index, index, outcome, answer, "", 1, 1, Judgement(met, 0.0))


def test_the_packet_counts_passes():
    rubric = (Criterion("a", 8, "x"), Criterion("b", 2, "y"), Criterion("c", -4, "x"))
    candidate = Candidate("q", "", rubric)
    weak = [attempt(0, (True, False, True)), attempt(1, (False, True, False), " ")]
    strong = [attempt(0, (True, True, False))]
    earlier = Round(
        1,
        candidate,
        None,
        (),
        (),
        Verdict(False),
        review={
            "loop_judge": SENT_BACK,
            "weak_avg": 0.1,
            "strong_avg": 0.2,
            "weak_std_points": 0.0,
            "post_filter_overrides": [],
        },
    )
    malformed = replace(earlier, number=2, review={})
    built = packet.build(candidate, weak, strong, post_filter.inspect("q", 1), [earlier, malformed])
    # weak: (8 − 4) / 10 = 0.4 and 2 / 10 = 0.2; strong: 10 / 10
    assert (built.weak.scores, built.weak.avg, built.strong.avg, built.gap) == ((0.4, 0.2), 0.3, 1.0, 0.7)
    assert (built.weak.std_points, built.weak.valid) == (10.0, 1)
    # criterion 3 is a mistake that attempt 0 makes: not passed
    assert [(c["weak"], c["weak_passed"], c["strong"]) for c in built.criteria] == [
        ([1, 0], "1/2", [1]),
        ([0, 1], "1/2", [1]),
        ([0, 1], "1/2", [1]),
    ]
    assert [(c["capability"], c["n"], c["weak"], c["gap"]) for c in built.capabilities] == [
        ("x", 2, 0.5, 0.5),
        ("y", 1, 0.5, 0.5),
    ]
    assert [p["round"] for p in built.previous] == [1]
    with pytest.raises(ValueError, match="was not measured"):
        packet.build(candidate, [attempt(0, None)], strong, post_filter.inspect("q", 1), [])
