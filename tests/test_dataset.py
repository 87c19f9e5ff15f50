"""Tests the dataset command: choice of rounds, funnel, duplicates, splits, statistics and provenance."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata import dataset as module
from autodata.data import parquet
from autodata.data.examples import choose_rounds, find_licence, read_arm
from autodata.data.statistics import METRICS, summarize
from autodata.dataset import build, choose_test_documents
from autodata.recipes.data import DatasetRecipe, Filters
from autodata.run.records import RunError, read_records
from autodata.run.snapshot import read_snapshot
from autodata.types import EXAMPLE, Trajectory
from tests.helpers.commands import find_failure
from tests.helpers.fake_runs import a_round, candidate, checked, demo_recipe, refused, simple, trajectory, write_run
from tests.helpers.parquet_rows import to_example

pytestmark = pytest.mark.slow

DEMO, COT = demo_recipe(), demo_recipe("arm=cot")
LONG = "the {0} keeper of the {0} harbour light wrote down every passing ship {0} in a book of"


def question(number: int) -> str:
    return LONG.format(f"w{chr(97 + number)}")


def made(tmp_path: Path, agentic: list[Trajectory], cot: list[Trajectory] = (), **values: object) -> module.Dataset:
    """Build the dataset of these trajectories."""
    arms = {"agentic": write_run(tmp_path / "agentic", DEMO, *agentic)}
    if cot:
        arms["cot"] = write_run(tmp_path / "cot", COT, *cot)
    return build(DatasetRecipe(**{"run": "r", "arms": arms, "decontaminate": [], **values}), [])


# ── which round ────────────────────────────────────────────────────────────────────────────────


def test_the_loop_gives_what_it_accepted():
    rejected, accepted = (a_round(n, candidate(f"q{n}"), DEMO, weak=w) for n, w in ((1, 0), (2, 2)))
    assert choose_rounds(trajectory("a", rejected, accepted)) == [accepted]
    assert choose_rounds(trajectory("a", rejected)) == []
    assert choose_rounds(trajectory("a")) == []


def test_the_baseline_gives_what_was_measured_whatever_its_verdict():
    measured = [a_round(n, candidate(f"q{n}"), DEMO, weak=w) for n, w in ((1, 0), (2, 2), (3, 8))]
    missing = [replace(measured[0], weak=(), strong=()), replace(measured[1], strong=())]
    assert choose_rounds(trajectory("a", *measured[:1], arm="cot")) == measured[:1]
    assert choose_rounds(trajectory("a", *measured[:2], *missing, measured[2], arm="cot")) == measured
    assert choose_rounds(trajectory("a", *missing, arm="cot")) == []


def test_best_of_n_gives_the_accepted_round_or_the_largest_gap():
    rounds = [a_round(n, candidate(f"q{n}"), DEMO, weak=w, strong=s) for n, w, s in ((1, 4, 6), (2, 4, 8), (3, 1, 6))]
    assert choose_rounds(trajectory("a", *rounds, arm="best_of_n")) == [rounds[2]]
    assert choose_rounds(trajectory("a", *rounds[:2], arm="best_of_n")) == [rounds[1]]
    assert choose_rounds(trajectory("a", arm="best_of_n")) == []


# ── the funnel ─────────────────────────────────────────────────────────────────────────────────


def test_every_stage_is_counted(tmp_path):
    plain = [simple(f"d{i}", question(i), DEMO) for i in range(3)]
    unsure = trajectory("e", a_round(1, candidate("e"), DEMO, final=checked(candidate("e"), passed=False)))
    empty, leaking, short = (
        trajectory(name, a_round(1, proposal, DEMO))
        for name, proposal in (
            ("f", candidate("f", reference_answer="")),
            ("g", candidate("what do the authors say?", context="x" * 9)),
            ("h", candidate("h", context="x" * 8)),
        )
    )
    none = trajectory("z", a_round(1, candidate("z"), DEMO, weak=8))
    plain = [
        trajectory(t.document_id, a_round(1, candidate(t.rounds[0].candidate.question, context="x" * 9), DEMO))
        for t in plain
    ]
    filters = Filters(context_chars=9, source_references=True)
    built = made(tmp_path, [*plain, unsure, empty, leaking, short, none], filters=filters)
    assert built.funnel == {
        "agentic": {
            "trajectories": 8,
            "accepted or measured": 7,
            "measured": 7,
            "final check": 6,
            "complete": 5,
            "rubric": 5,
            "context length": 4,
            "no source reference": 3,
            "no benchmark overlap": 3,
            "no equal candidate": 3,
            "no near-duplicate": 3,
            "per document": 3,
            "no held-out overlap": 3,
            "train": 2,
            "test": 1,
        }
    }
    assert [e.document_id for e in built.examples] == ["d0", "d1", "d2"]


def test_a_judgement_that_does_not_fit_its_rubric_is_named(tmp_path):
    whole = simple("d1", question(1), DEMO)
    (round,) = whole.rounds
    first, *others = round.weak
    judgement = replace(first.judgement, met=(True, False))
    broken = replace(round, weak=(replace(first, judgement=judgement), *others))
    with pytest.raises(RunError, match=r"document d1, round 1: not a valid record \(2 verdicts for 3 criteria"):
        made(tmp_path, [replace(whole, rounds=(broken,))])


def test_the_domain_of_the_runs_says_how_long_a_context_is_and_the_recipe_may_overrule_it(tmp_path):
    recipe = demo_recipe("domain.context_chars=9")
    run = write_run(tmp_path / "run", recipe, *[trajectory("a", a_round(1, candidate("q", context="x" * 8), recipe))])
    assert read_arm("agentic", run).limits(Filters())[1].context_chars == 9
    assert read_arm("agentic", run).limits(Filters(context_chars=0))[1].context_chars == 0


def test_a_rubric_is_counted_with_the_shape_of_its_run(tmp_path):
    shape = "{s: {tolerated: {items: [4, 9], positive: [1, 9], negative: [0, 9]}}}"
    recipe = demo_recipe("domain.rubric_shape=s", f"domain.rubric_shapes={shape}")
    run = write_run(tmp_path / "run", recipe, simple("a", "q", recipe))
    built = build(DatasetRecipe(run="r", arms={"agentic": run}, decontaminate=[]), [])
    assert (built.funnel["agentic"]["complete"], built.funnel["agentic"]["rubric"]) == (1, 0)


# ── duplicates and splits ──────────────────────────────────────────────────────────────────────


def test_equal_candidates_and_near_duplicates_of_one_arm_are_one_example(tmp_path):
    near = question(0) + " records"
    built = made(tmp_path, [simple("a", question(0), DEMO), simple("b", question(0), DEMO), simple("c", near, DEMO)])
    funnel = built.funnel["agentic"]
    assert [funnel[s] for s in ("no benchmark overlap", "no equal candidate", "no near-duplicate")] == [3, 2, 1]
    assert built.examples[0].id == min(f"agentic-{candidate(q).hash}" for q in (question(0), near))


def test_arms_keep_their_near_duplicates_of_each_other_on_one_side(tmp_path):
    agentic = [simple(f"a{i}", question(i), DEMO) for i in range(8)]
    cot = [simple(f"c{i}", question(i) + " it", COT, "cot") for i in range(8)]
    built = made(tmp_path, agentic, cot, test_fraction=0.5)
    assert len(built.examples) == 16
    sides = {e.document_id: e.split for e in built.examples}
    assert all(sides[f"a{i}"] == sides[f"c{i}"] for i in range(8))
    assert sorted(sides.values()) == ["test"] * 8 + ["train"] * 8


def test_documents_joined_in_one_arm_are_tied_to_their_parts_in_the_other(tmp_path):
    agentic = [simple(f"g{i}", question(i), DEMO) for i in range(4)]
    agentic = [replace(t, document_source=f"p.jsonl:{2 * i}; p.jsonl:{2 * i + 1}") for i, t in enumerate(agentic)]
    cot = [replace(simple(f"p{i}", question(10 + i), COT, "cot"), document_source=f"p.jsonl:{i}") for i in range(8)]
    built = made(tmp_path, agentic, cot, test_fraction=0.5)
    sides = {e.document_id: e.split for e in built.examples}
    assert all(sides[f"p{i}"] == sides[f"g{i // 2}"] for i in range(8))
    assert len(set(sides.values())) == 2


def test_no_document_and_no_cluster_is_on_both_sides(tmp_path):
    cot = [simple(f"d{i}", question(i // 3) + " a b c d"[: 2 * (i % 3)], COT, "cot") for i in range(24)]
    agentic = [simple(f"d{i}", question(i // 3), DEMO) for i in range(0, 24, 2)]
    built = made(tmp_path, agentic, cot, test_fraction=0.4)
    documents, starts = (
        {side: {key(e) for e in built.side(side)} for side in ("train", "test")}
        for key in (lambda e: e.document_id, lambda e: e.candidate.question[:60])
    )
    for sides in (documents, starts):
        assert sides["test"]
        assert not sides["train"] & sides["test"]


CLUSTERS = st.sets(st.text(min_size=1), min_size=1, max_size=30)


@given(CLUSTERS, st.integers(0, 9), st.floats(0, 1))
def test_the_split_is_a_fixed_share_whatever_the_order(ids, seed, fraction):
    clusters = [(i,) for i in sorted(ids)]
    chosen = choose_test_documents(clusters, fraction, seed)
    assert chosen == choose_test_documents(clusters[::-1], fraction, seed)
    assert len(chosen) == round(len(ids) * fraction)
    assert chosen <= ids


@given(CLUSTERS, st.integers(1, 5), st.floats(0, 1))
def test_a_cluster_is_taken_whole_and_the_share_never_exceeded(ids, size, fraction):
    ordered = sorted(ids)
    clusters = [tuple(ordered[i : i + size]) for i in range(0, len(ordered), size)]
    chosen = choose_test_documents(clusters, fraction, 0)
    assert all(set(c) <= chosen or not set(c) & chosen for c in clusters)
    assert round(len(ids) * fraction) - size < len(chosen) <= round(len(ids) * fraction)


def test_a_document_has_no_more_examples_than_it_may(tmp_path):
    twice = [simple("a", question(0), DEMO), simple("a", question(1), DEMO)]
    run = write_run(tmp_path / "run", DEMO, *twice)
    for at_most in (1, 2):
        recipe = DatasetRecipe(run="r", arms={"agentic": run}, decontaminate=[], filters=Filters(per_document=at_most))
        assert build(recipe, []).funnel["agentic"]["per document"] == at_most


@pytest.mark.parametrize(("at_most", "kept"), [(1, [1]), (2, [1, 3]), (3, [1, 3, 4])])
def test_of_the_baselines_proposals_the_first_ones_stay(tmp_path, at_most, kept):
    rounds = [a_round(n, candidate(question(n)), COT, weak=n) for n in range(1, 5)]
    rounds[1] = replace(rounds[1], weak=(), strong=())
    built = made(tmp_path, [simple("b", question(9), DEMO)], [trajectory("a", *rounds, arm="cot")], test_fraction=1,
                 filters=Filters(per_document=at_most))  # fmt: skip
    assert [e.round for e in built.examples if e.arm == "cot"] == kept
    assert (built.funnel["cot"]["trajectories"], built.funnel["cot"]["accepted or measured"]) == (1, 3)
    assert built.side("train") == []
    assert summarize([e for e in built.examples if e.arm == "cot"])["rounds"] == 1


def test_short_questions_on_the_same_passage_all_stay(tmp_path):
    """The questions share most of their few words but are different questions."""
    ends = ["The first word is", "The last word is", "The longest word is", "The number of words is"]
    questions = [f"The town keeps its old\n{end}" for end in ends] + ["The keeper of the town\nThe first word is"]
    built = made(tmp_path, [simple(f"d{i}", text, DEMO) for i, text in enumerate(questions)], test_fraction=0.4)
    assert len(built.examples) == 5


def test_what_is_held_out_in_any_arm_is_not_trained_on(tmp_path):
    agentic = [simple(f"a{i}", question(i), DEMO) for i in range(8)]
    quoting = [candidate(question(10 + i), context=f"As it says: {question(i).title()}!") for i in range(8)]
    cot = [trajectory(f"c{i}", a_round(1, proposal, COT), arm="cot") for i, proposal in enumerate(quoting)]
    built = made(tmp_path, agentic, cot, test_fraction=0.5)
    left, removed = {e.document_id: e.split for e in built.examples}, {m.example_id for m in built.matches}
    torn = [i for i in range(8) if left.get(f"a{i}") != left.get(f"c{i}")]
    assert torn
    assert all({left.get(f"a{i}"), left.get(f"c{i}")} == {"test", None} for i in torn)
    assert len(removed) == len(torn) == 16 - len(left)
    assert all(m.against.startswith("held-out ") and len(m.ngram.split()) == 13 for m in built.matches)


def test_arms_are_cut_down_to_the_smallest_on_each_side(tmp_path):
    agentic = [simple(f"d{i}", question(i), DEMO) for i in range(6)]
    cot = [simple(f"d{i}", question(i) + " x" * 9 + str(i), COT, "cot") for i in range(12)]
    built = made(tmp_path, agentic, cot, test_fraction=0.5, equal_sizes=True)
    sizes = {
        (arm, side): sum(e.arm == arm for e in built.side(side)) for arm in built.domains for side in ("train", "test")
    }
    assert sizes["agentic", "train"] == sizes["cot", "train"]
    assert sizes["agentic", "test"] == sizes["cot", "test"]
    assert built.funnel["cot"]["per document"] == 12
    assert built.funnel["cot"]["equal sizes"] == sum(sizes.values()) / 2


# ── statistics ─────────────────────────────────────────────────────────────────────────────────


def test_statistics_have_the_shape_of_the_papers_tables(tmp_path):
    late = trajectory("b", a_round(1, candidate("x"), DEMO, weak=0), a_round(2, candidate(question(1)), DEMO, weak=2))
    built = made(tmp_path, [simple("a", question(0), DEMO, weak=2), late])
    statistics = summarize(built.examples)
    assert tuple(statistics) == METRICS
    assert statistics["weak_avg"] == 0.25
    assert statistics["weak_median_pct"] == 25
    assert statistics["strong_avg"] == 1.0
    assert statistics["gap"] == 0.75
    assert (statistics["rounds"], statistics["rounds_median"], statistics["rounds_max"]) == (1.5, 1.5, 2)
    assert statistics["accepted_in_one_round_pct"] == 50
    assert statistics["weak_rollout_std_points"] == pytest.approx(100 * (0.25 * 0.75) ** 0.5)
    assert statistics["question_chars"] == len(question(0))
    assert statistics["rubric_items"] == 3


def test_a_statistic_without_data_is_none_and_never_zero(tmp_path):
    cot = made(tmp_path, [simple("a", "q", DEMO)], [simple("a", "q", COT, "cot")]).examples[-1]
    statistics = summarize([cot])
    missing = [m for m in METRICS if statistics[m] is None]
    assert missing == [
        "rounds_median",
        "rounds_max",
        "accepted_in_one_round_pct",
        "grpo_suitability_high_pct",
        "grpo_suitability_medium_pct",
        "grpo_suitability_low_pct",
    ]
    assert summarize([replace(cot, weak_scores=(0.5,))])["weak_rollout_std_points"] is None
    assert {k: v for k, v in summarize([]).items() if v is not None} == {"examples": 0}


def test_suitability_is_the_loop_judges_and_what_has_no_label_is_a_rest(tmp_path):
    labels = ["high", "medium", "medium", None]
    reviews = [{"loop_judge": {"grpo_suitability": x}} if x else {} for x in labels]
    agentic = [trajectory(f"d{i}", a_round(1, candidate(question(i)), DEMO, review=r)) for i, r in enumerate(reviews)]
    statistics = summarize(made(tmp_path, agentic).examples)
    assert [statistics[f"grpo_suitability_{x}_pct"] for x in ("high", "medium", "low")] == [25, 50, 0]


# ── where an example comes from, and the command ───────────────────────────────────────────────


def test_an_example_says_where_it_comes_from(tmp_path):
    built = made(tmp_path, [simple("law_1", "q", DEMO)], sources={"cs_*": "mit", "law_?.txt": "cc0-1.0", "*": "mit"})
    (example,) = built.examples
    origin, evidence = example.provenance, example.evidence
    assert (origin.run, origin.licence, origin.prompts_hash) == (str(tmp_path / "agentic"), "cc0-1.0", "p1")
    assert (origin.tokens, origin.weak_seeds) == ({"challenger": 7}, tuple(range(10, 18)))
    assert origin.models == {"weak_solver": "small", "strong_solver": "large"}
    assert evidence.weak_met[0] == (True, True, False)
    assert (evidence.preset, evidence.weak_planned, evidence.strong_planned) == ("just_right", 8, 8)
    assert evidence.gates["just_right"]["strong_mean_at_least"] == 0.625
    assert "gap_at_least" not in evidence.gates["just_right"]
    assert set(evidence.presets) == {"just_right", "wide"}


def test_a_document_that_no_pattern_fits_has_an_unknown_licence():
    unstated = SimpleNamespace(document_source="a.txt", document_licence="")
    assert find_licence(unstated, {"*.md": "mit"}) == "unknown"
    assert find_licence(unstated, {"*.txt": "mit"}) == "mit"
    assert find_licence(SimpleNamespace(document_source="a.txt", document_licence="CC0"), {"*": "mit"}) == "CC0"


def run_main(monkeypatch, capsys, tmp_path, *more: str) -> str:
    arms = [f"arms.{arm}={tmp_path / arm}" for arm in ("agentic", "cot")]
    monkeypatch.setattr(sys, "argv", ["dataset", "recipes/demo/dataset.yaml", f"run={tmp_path / 'd'}", *arms, *more])
    return find_failure(module.main) or capsys.readouterr().out


def test_the_command_writes_examples_statistics_and_hugging_face_sets(monkeypatch, capsys, tmp_path):
    write_run(tmp_path / "agentic", DEMO, *(simple(f"d{i}", question(i), DEMO) for i in range(6)))
    write_run(tmp_path / "cot", COT, *(simple(f"d{i}", question(i), COT, "cot") for i in range(6)))
    out = run_main(monkeypatch, capsys, tmp_path)
    assert "no near-duplicate" in out
    assert "weak_avg" in out
    now = read_snapshot(tmp_path / "d")
    assert (now.state, now.done > 0, now.done) == ("finished", True, now.total)
    assert "grpo_suitability" not in out
    examples = read_records(tmp_path / "d" / "examples.jsonl", EXAMPLE)
    assert len(examples) == 12
    import datasets

    folder = tmp_path / "d" / "huggingface"
    stored = {
        path: datasets.Dataset.from_parquet(str(folder / path), cache_dir=str(tmp_path / "cache"))
        for arm in ("agentic", "cot")
        for path in (f"{arm}/train.parquet", f"{arm}/test.parquet")
    }
    assert [len(rows) for rows in stored.values()] == [4, 2, 4, 2]
    assert all(rows.features == parquet.declare() for rows in stored.values())
    read = sorted((to_example(row) for rows in stored.values() for row in rows), key=lambda e: e.id)
    assert read == sorted(examples, key=lambda e: e.id)
    text = (tmp_path / "d" / "huggingface" / "README.md").read_text()
    assert text.index("| trajectories |") < text.index("| rubric |") < text.index("| train |")
    assert "license:\n- unknown\n" in text
    assert "up to date" in run_main(monkeypatch, capsys, tmp_path)


def test_two_builds_are_the_same_byte_for_byte(monkeypatch, capsys, tmp_path):
    agentic = [simple(f"d{i}", question(i // 2) + " it" * (i % 2), DEMO) for i in range(12)]
    write_run(tmp_path / "agentic", DEMO, *agentic)
    write_run(tmp_path / "cot", COT, *(simple(f"d{i}", question(i), COT, "cot") for i in range(6)))
    for name in ("one", "two"):
        run_main(monkeypatch, capsys, tmp_path, f"run={tmp_path / name}")
    for file in ("examples.jsonl", "statistics.json", "decontamination.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"arm": "agentic", "finished": None}, "not finished"),
        ({"arm": "cot"}, "was made with arm=cot, not arm=agentic"),
    ],
)
def test_runs_that_do_not_fit_are_refused(monkeypatch, capsys, tmp_path, run, message):
    write_run(tmp_path / "agentic", DEMO, simple("a", "q", DEMO), **run)
    write_run(tmp_path / "cot", COT, simple("a", "q", COT, "cot"))
    assert message in run_main(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize(("value", "is_refused"), [
    ("filters.near_duplicate=0", True), ("filters.near_duplicate=1.1", True), ("filters.near_duplicate=1", False),
    ("test_fraction=1", False), ("test_fraction=1.01", True), ("test_fraction=-0.1", True),
    ("test_fraction=0", False),
])  # fmt: skip
def test_values_out_of_range_are_refused_by_name(monkeypatch, capsys, tmp_path, value, is_refused):
    answer = run_main(monkeypatch, capsys, tmp_path, value)
    assert answer.startswith(f"error: {value.split('=')[0]}=") == is_refused


def test_a_missing_run_names_the_command(monkeypatch, capsys, tmp_path):
    assert "make it with python -m autodata.generate" in run_main(monkeypatch, capsys, tmp_path)


def test_a_dataset_of_nothing_has_dashes_and_a_card(monkeypatch, capsys, tmp_path):
    nothing = replace(a_round(1, candidate("q"), DEMO), verdict=refused())
    write_run(tmp_path / "agentic", DEMO, trajectory("a", nothing))
    write_run(tmp_path / "cot", COT, trajectory("a", arm="cot"))
    out = run_main(monkeypatch, capsys, tmp_path)
    assert "trajectories" in out
    assert (tmp_path / "d" / "huggingface" / "README.md").exists()
    assert json.loads((tmp_path / "d" / "statistics.json").read_text())["cot"]["weak_avg"] is None
