"""Tests PRBench's scores on both sides of every rule."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.eval.prbench.rules import (
    CLASSES,
    BadRubric,
    PrbenchCriterion,
    group_values,
    rates_by,
    read_conversation,
    read_criterion,
    score_task,
    summarize,
)
from autodata.types import Message


def row(weight_class: str = "important", **weights: object) -> dict:
    names = [f"{name.replace(' ', '_')}_weight" for name in CLASSES]
    fields = {
        "weight_class": weight_class,
        "criteria_category": "Legal Accuracy",
        "criteria_description": "requirement in prompt",
    }
    notes = dict.fromkeys(names) | fields | weights
    return {"id": "c1", "title": "Names the statute.", "annotations": notes}


def criteria(*weights: float) -> list[PrbenchCriterion]:
    return [
        PrbenchCriterion(str(i), "t", w, "important" if w > 0 else "detrimental", "a") for i, w in enumerate(weights)
    ]


def test_the_weight_class_decides_and_stale_siblings_do_not():
    read = read_criterion(
        row("critically detrimental", critically_important_weight=10, critically_detrimental_weight=-8)
    )
    assert (read.weight, read.title, read.category) == (-8.0, "Names the statute.", "Legal Accuracy")


def test_a_weight_as_a_string_is_a_number():
    assert read_criterion(row("important", important_weight="5")).weight == 5.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (row("very important"), "weight_class 'very important'"),
        (row(None), "weight_class None"),
        (row("important"), "no weight for important"),
        (row("important", important_weight="many"), "no weight for important"),
        (row("important", important_weight=5) | {"title": None}, "no title"),
        ({"id": "c1", "title": "t"}, "weight_class None"),
    ],
)
def test_a_criterion_without_a_usable_weight_is_an_error(values, message):
    with pytest.raises(BadRubric, match=f"criterion c1: {message}"):
        read_criterion(values)


def test_points_over_positive_weights_and_the_normalised_form():
    score = score_task(criteria(10, 5, -5), [True, False, True])
    assert (score.points, score.positive, score.negative) == (5.0, 15.0, -5.0)
    assert score.clipped == pytest.approx(5 / 15)
    assert score.normalized == pytest.approx((5 + 5) / 20)
    assert (score.low, score.high) == (score.clipped, score.clipped)


def test_the_mean_is_clipped_and_not_its_parts():
    good, bad = score_task(criteria(10, -20), [True, False]), score_task(criteria(10, -20), [False, True])
    summary = summarize([good, bad])
    assert summary["mean_clipped"] == 0.0  # (1 − 2) / 2 is below
    assert summary["mean_floored"] == 0.5
    assert summary["mean_normalized"] == pytest.approx((1.0 + 0.0) / 2)
    assert summarize([good])["mean_clipped"] == 1.0


def test_an_unresolved_grade_is_a_third_value_with_bounds():
    score = score_task(criteria(10, 5, -5), [True, None, None])
    assert score.clipped is None
    assert (score.low, score.high) == (pytest.approx(5 / 15), pytest.approx(15 / 15))
    summary = summarize([score, score_task(criteria(10), [True])])
    assert (summary["tasks"], summary["scored"], summary["unresolved"]) == (2, 1, 2)
    assert summary["mean_clipped"] == 1.0
    assert (summary["low"], summary["high"]) == (pytest.approx((5 / 15 + 1) / 2), 1.0)


def test_a_rubric_of_negative_weights_only_has_no_clipped_score():
    score = score_task(criteria(-5, -5), [True, False])
    assert score.clipped is score.low is None
    assert score.normalized == 0.5
    assert summarize([score])["mean_clipped"] is None
    assert summarize([])["mean_normalized"] is None


def test_rates_by_category_and_by_weight_class():
    graded = [(criteria(5, -5), [True, None]), (criteria(5, -5), [False, True])]
    assert rates_by(graded, "weight_class") == {"detrimental": (1.0, 1), "important": (0.5, 2)}
    assert rates_by(graded, "category") == {"a": (2 / 3, 3)}
    assert list(group_values([("tax", 1), ("labour", 2), ("tax", 0)]).items()) == [("labour", [2]), ("tax", [1, 0])]


weights = st.lists(st.integers(-10, 10).filter(bool), min_size=1, max_size=30)


@given(weights, st.data())
def test_bounds_hold_whatever_the_missing_grades_are(values, data):
    rubric = criteria(*values)
    met = data.draw(st.lists(st.sampled_from([True, False, None]), min_size=len(values), max_size=len(values)))
    filled = [data.draw(st.booleans()) if m is None else m for m in met]
    bounds, score = score_task(rubric, met), score_task(rubric, filled)
    if score.clipped is not None:
        assert bounds.low - 1e-9 <= score.clipped <= bounds.high + 1e-9
    assert score.normalized is None or -1e-9 <= score.normalized <= 1 + 1e-9


def test_earlier_turns_are_fixed_and_reference_texts_stand_before_their_own():
    conversation = {
        "task": "t",
        "turns": 2,
        "prompt_0": "First?",
        "response_0": "One.",
        "prompt_1": "Second?",
        "reference_texts_1": ["A law.", "A case."],
        "response_1": "not shown",
    }
    messages = read_conversation(conversation)
    assert messages == [
        Message("user", "First?"),
        Message("assistant", "One."),
        Message("user", "Reference Text 0:\nA law.\n\nReference Text 1:\nA case.\n\nSecond?"),
    ]
    with pytest.raises(BadRubric, match="2 turns, and no prompt_1"):
        read_conversation({"task": "t", "turns": 2, "prompt_0": "First?"})


def clip_as_evalscope(rows: list[dict], met: list[bool]) -> dict[str, float]:
    """Return the score of evalscope's PRBench for the same rubric and grades."""
    adapter = pytest.importorskip("evalscope.benchmarks.prbench.prbench_adapter").PRBenchAdapter
    verdicts = [
        SimpleNamespace(metadata=adapter._normalize_rubric(row), value=SimpleNamespace(criteria_met=one))
        for row, one in zip(rows, met, strict=True)
    ]
    return adapter._reduce_verdicts(verdicts, None).value


GRADED = st.tuples(st.sampled_from(CLASSES), st.integers(1, 10), st.booleans())
RUBRICS = st.lists(GRADED, min_size=1, max_size=20).filter(
    lambda rubric: any("important" in item[0] for item in rubric)
)


@settings(deadline=None)  # the first call imports evalscope
@given(st.lists(RUBRICS, min_size=1, max_size=6))
def test_random_rubrics_score_as_another_implementation_scores_them(rubrics):
    """Compares scores of answers and the headline score with evalscope 1.14.1, which follows the benchmark's code."""
    ours, theirs = [], []
    for rubric in rubrics:
        weights = [weight if "important" in name else -weight for name, weight, _ in rubric]
        rows = [
            row(name, **{f"{name.replace(' ', '_')}_weight": weight})
            for (name, _, _), weight in zip(rubric, weights, strict=True)
        ]
        met = [one for _, _, one in rubric]
        ours.append(score_task([read_criterion(one) for one in rows], met))
        theirs.append(clip_as_evalscope(rows, met))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.clipped == pytest.approx(other["clipped_score"])
        assert mine.normalized == pytest.approx(other["normalized_score"])
    mean = sum(other["clipped_score"] for other in theirs) / len(theirs)
    assert summarize(ours)["mean_clipped"] == pytest.approx(max(0.0, mean))
