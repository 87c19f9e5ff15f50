"""Tests the rules of the legal domain: patterns, weights, readers of replies, and the review packet."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autodata.domains.legal import extractor, loop_judge, packet, post_filter, writer
from autodata.loop.parsing import ParseError
from autodata.types import Attempt, Candidate, Criterion, Judgement, Outcome, Round, Verdict
from tests.test_legal import EXTRACT, REVIEW, SENT_BACK, proposal

SENTENCES = yaml.safe_load((Path(__file__).parent / "golden" / "legal_sentences.yaml").read_text())


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
        ("I hold 1850 shares", []),
        ("the sale of 1850 shares", []),
        ("The 1925 rulings held", ["a year from 1800 to 1939"]),
        ("for $1850, 1,850 or 1850.50 a month, unit 21850", []),
    ],
)
def test_patterns_on_both_sides(text, hits):
    findings = post_filter.inspect(text, None)
    assert [*findings.case_recap, *findings.hints] == hits


@pytest.mark.parametrize("text", SENTENCES["honest"])
def test_what_a_client_could_say_is_no_fault(text):
    assert not post_filter.inspect(text, None).flags


@pytest.mark.parametrize("text", ["My mother was born in 1935.", "I run a club founded in 1911, and it owes tax."])
def test_an_age_that_a_client_may_name_is_only_a_hint(text):
    findings = post_filter.inspect(text, None)
    assert not findings.flags and findings.hints


def test_a_year_of_rulings_is_a_fault():
    assert post_filter.inspect("The 1925 rulings held that the land was public.", None).flags


@pytest.mark.parametrize("text", SENTENCES["cheating"])
def test_a_retold_case_or_an_exam_is_a_fault(text):
    assert post_filter.inspect(text, None).flags


def test_the_prompt_of_the_writer_names_what_code_refuses():
    path = Path(writer.__file__).parent / "prompts" / "challenger.j2"
    refused = path.read_text().split("Code refuses a question")[1].split("How hard")[0]
    quoted = re.findall(r'"([^"]+)"', " ".join(refused.split()))
    named = {name for text in quoted for name in post_filter.inspect(text, None).case_recap}
    assert named == set(post_filter._PHRASES) and len(quoted) == len(named)


@pytest.mark.parametrize(("weight_class", "weight", "is_read"), [
    ("critical", 10, True), ("critical", 8, True), ("critical", 7, True), ("critical", 11, False),
    ("important", 7, True), ("important", "+5", True), ("important", 8, True), ("important", 4, True),
    ("supporting", 2, True), ("supporting", 5, True), ("supporting", 1, False), ("supporting", 0, False),
    ("mistake", 5, False), ("vital", 9, True), (None, 9, True), ("Critical ", "9", True),
])  # fmt: skip
def test_the_weight_decides_and_its_class_only_names_the_band(weight_class, weight, is_read):
    record = proposal(weight_class=weight_class, weight=weight)
    if is_read:
        assert writer.read_candidate(record).rubric[0].weight == int(weight)
    else:
        with pytest.raises(ParseError, match=r"criterion 1|weight 0"):
            writer.read_candidate(record)


@pytest.mark.parametrize(
    ("category", "weight", "is_read"),
    [("negative", -1, True), ("negative", -10, True), ("negative", 10, True), ("negative", -11, False),
     ("positive", -5, True), ("Negative", "\N{MINUS SIGN}5", True), (None, -5, True), ("", 5, True)],
)  # fmt: skip
def test_a_mistake_costs_one_to_ten_points(category, weight, is_read):
    record = proposal(category=category, weight_class="mistake", weight=weight)
    if is_read:
        assert writer.read_candidate(record).rubric[0].weight == -abs(int(str(weight).replace("\N{MINUS SIGN}", "-")))
    else:
        with pytest.raises(ParseError, match=r"in no class .*mistake -10 to -1"):
            writer.read_candidate(record)


def test_near_misses_of_form_are_read():
    record = proposal(number=None, capability=["Issue spotting", "x"])
    record["target_capabilities"] = {
        "primary_focus": "notice",
        "secondary_focus": ["x"],
        "penalizes_summary": "Haste.",
    }
    read = writer.read_candidate(record)
    assert read.rubric[0].capability == "issue_spotting"
    assert read.labels["target_capabilities"] == {
        "primary_focus": ["notice"],
        "secondary_focus": ["x"],
        "rewards_summary": "",
        "penalises_summary": "Haste.",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"capability": " ?"}, "criterion 1 names no capability"),
        ({"category": "neutral", "weight_class": "vital"}, "neither positive nor negative"),
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


def test_near_misses_of_an_extract_are_read():
    sloppy = {"suitable_for_synthetic_question": "True", "issues": EXTRACT["issues"][0], "facts": ["a", "b"]}
    read = extractor.read_extract(EXTRACT | sloppy)
    assert (read["suitable_for_synthetic_question"], read["facts"]) == (True, "a\n\nb")
    assert read["issues"] == EXTRACT["issues"]


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
        ({"rubric_concerns": 3}, "rubric_concerns"),
        ({"weak_pattern": "poor"}, "`weak_pattern` names no criterion"),
        ({"strong_pattern": "solid"}, "`strong_pattern` names no criterion"),
    ],
)
def test_half_a_review_is_none(change, reason):
    for same in ({"verdict": " Accept "}, {"verdict": "**ACCEPT**."}, {"rubric_concerns": "None."}):
        assert loop_judge.read_review(REVIEW | same, 15) == REVIEW
    with pytest.raises(ParseError, match=reason):
        loop_judge.read_review(REVIEW | change, 15)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("criteria 1 to 3 in 4 of 5", True),
        ("2 and 7 passed by 3/5", True),
        ("5/5 on C3", True),
        ("1,2,3 always, #15 never", True),
        ("15: never", True),
        ("16: never", False),
        ("0 is below the first", False),
        ("passes every criterion", True),
        ("All positive criteria missed", True),
        ("none of the criteria", True),
        ("most criteria", False),
        ("good spread, solid", False),
        ("mean 0.24, deviation 12 points", False),
        ("all 5 attempts are poor", False),
        ("4 of 5 are reasonable, 80 % good", False),
        ("meets 4 criteria of 15", False),
        ("0.11 to 0.14", False),
        ("Attempt 2 is best", False),
        ("attempts 1, 2 and 4 are weak", False),
        ("ranges from 0 to 1", False),
        ("scores between 0 and 1", False),
        ("a mean of 3", False),
        ("Attempt 2 misses criterion 4", True),
        ("attempts 1 and 2, criteria 3 and 4", True),
    ],
)
def test_adjectives_and_counts_name_no_criterion(text, names):
    assert loop_judge.names_criteria(text, 15) is names


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
        tuple(weak),
        tuple(strong),
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
    assert [p["round"] for p in built.previous] == [built.last["round"]] == [1]
    assert built.last["rubric"].split("\n")[0] == (
        '{"number": 1, "weight": 8, "criterion": "a", "weak_passed": "1/2", "strong_passed": "1/1"}'
    )
    with pytest.raises(ValueError, match="was not measured"):
        packet.build(candidate, [attempt(0, None)], strong, post_filter.inspect("q", 1), [])
