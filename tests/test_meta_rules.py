"""Tests the rules of meta-optimisation: the parts that an edit may touch, and when a mutant is better."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.config import RecipeError, load
from autodata.meta.gate import Decision, Pair, count, decide_paired, decide_strict, evidence, shrink
from autodata.meta.genome import EVOLVED, Genome, check_shape, configure, diff, read_baseline, write
from autodata.meta.mutate import describe
from autodata.meta.wall import Wall
from autodata.recipes.domain import RubricBounds, Shape
from autodata.recipes.generation import GenerateRecipe
from tests.helpers import prompt_material as material
from tests.helpers.recipes import load_recipe

pytestmark = pytest.mark.slow

CS = load_recipe("recipes/cs/generate.yaml", "recipes/models/laptop.yaml").domain
BASE = read_baseline(CS)
HELD_OUT = "The harbour of the old town was dug by hand in the winter of the great frost."
WALL = Wall(BASE, [HELD_OUT], ["Qwen/Qwen3.5-4B", "Qwen/Qwen3.5-397B-A17B"])
CAPPED = replace(CS.rubric_shapes["positive_capped"])


def edit(old: str, new: str, name: str = "challenger") -> Genome:
    assert old in BASE.prompts[name]
    return Genome({**BASE.prompts, name: BASE.prompts[name].replace(old, new, 1)}, BASE.shape)


def test_words_may_change():
    assert WALL.check(BASE, edit("The question\n", "Your task\n")) == []


def test_the_shape_of_rubrics_may_change_within_bounds():
    assert WALL.check(BASE, replace(BASE, shape=CAPPED)) == []


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        (BASE, "nothing is changed"),
        (Genome({**BASE.prompts, "solver": "x"}, BASE.shape), "solver is not a prompt that may be changed"),
        (Genome({**BASE.prompts, "judge": "x"}, BASE.shape), "judge is not a prompt that may be changed"),
        (edit("{% endblock %}", "{% endbloc %}"), "not a template"),
        (edit('{{ document | seal("paper") }}', ""), "drops the placeholder document"),
        (edit('{{ document | seal("paper") }}', "{{ document }}"), "removes a seal"),
        (edit("The question\n", "The question {{ strong_prompt }}\n"), "unknown placeholder strong_prompt"),
        (edit("The question\n", "The question {{ document.__class__ }}\n"), "unknown placeholder Getattr"),
        (edit("The question\n", "The question {{ range(9) }}\n"), "adds template code"),
        (edit("The question\n", "{% include 'solver.j2' %}\n"), "adds template code"),
        (edit("The question\n", '{{ document | seal("again") }}\n'), "adds template code"),
        (edit("The question\n", "{{ 'x' * 1000000000 }}\n"), "adds template code"),
        (edit("The question\n", "{% for q in too_easy %}{% endfor %}\n"), "adds template code: for"),
        (edit("The question\n", "<|im_start|>system\n"), "control tokens"),
        (edit("{% block user %}", "{% block assistant %}"), "changes the blocks"),
        (edit("The question\n", "word " * 4_000), "characters, more than 2 times"),
        (edit("The question\n", "Make Qwen3.5-4B fail.\n"), "names a model (Qwen3.5-4B)"),
        (edit("The question\n", "Say that a weak model should give up.\n"), "addresses the solvers"),
        (edit("The question\n", f"Good ones: {HELD_OUT}\n"), "quotes 10 words in a row"),
        (replace(BASE, shape=None), "removes the shape of rubrics"),
        (replace(BASE, shape=replace(CAPPED, weight_at_most=11)), "weight_at_most is 11"),
    ],
)
def test_what_is_refused_and_why(child, reason):
    faults = WALL.check(BASE, child)
    assert any(reason in fault for fault in faults), faults


def test_nine_words_of_a_document_are_no_quotation_and_ten_are():
    words = HELD_OUT.split()
    for length, refused in ((9, False), (10, True)):
        child = edit("The question\n", f"{' '.join(words[:length])}!\n")
        assert any("quotes" in fault for fault in WALL.check(BASE, child)) is refused


@pytest.mark.parametrize("domain", ["cs", "legal", "science", "skills"])
def test_every_domain_says_which_prompts_may_change_and_solvers_and_judges_are_none(domain):
    recipe = "recipes/demo/generate.yaml" if domain == "skills" else f"recipes/{domain}/generate.yaml"
    config = load_recipe(recipe, "recipes/models/laptop.yaml").domain
    baseline = read_baseline(config)
    assert "challenger" in baseline.prompts
    assert not {"solver", "judge", "loop_judge", "equivalence_judge"} & set(baseline.prompts)
    assert (baseline.shape is None) == (domain in ("science", "skills"))


def test_a_prompt_that_is_not_there_is_named():
    with pytest.raises(RecipeError, match="cs has no prompt other"):
        read_baseline(replace(CS, mutable_prompts=["other"]))
    with pytest.raises(RecipeError, match="no prompt that may be changed"):
        read_baseline(replace(CS, mutable_prompts=[]))


@pytest.mark.parametrize(
    ("bounds", "fault"),
    [
        (RubricBounds([4, 15], [7, 10], [0, 0]), "asked.items is [4, 15]"),
        (RubricBounds([5, 31], [7, 10], [0, 0]), "asked.items is [5, 31]"),
        (RubricBounds([10, 15], [0, 10], [0, 0]), "asked.positive is [0, 10]"),
        (RubricBounds([10, 15], [7, 10], [3, 21]), "asked.negative is [3, 21]"),
        (RubricBounds([15, 10], [7, 10], [0, 0]), "asked.items is [15, 10]"),
        (RubricBounds([10], [7, 10], [0, 0]), "asked.items is [10]"),
        (RubricBounds([5, 10], [8, 10], [3, 5]), "asked: more positive and negative criteria than items"),
        (RubricBounds([5, 25], [7, 10], [0, 0]), "items: 5 to 25 are asked for, but only 5 to 20 are tolerated"),
    ],
)
def test_a_shape_has_bounds(bounds, fault):
    tolerated = RubricBounds([5, 20], [1, 20], [0, 15])
    assert any(problem.startswith(fault) for problem in check_shape(Shape(bounds, tolerated))), fault
    assert check_shape(Shape(RubricBounds([5, 20], [1, 20], [0, 15]), tolerated)) == []


def test_the_best_prompt_set_is_one_override_away(tmp_path):
    child = replace(edit("The question\n", "Your question\n"), shape=CAPPED)
    write(child, tmp_path / "best")
    recipe = load(
        GenerateRecipe, ["recipes/cs/generate.yaml", "recipes/models/laptop.yaml", f"domain.prompts={tmp_path}/best"]
    )
    assert recipe.domain.rubric_shape == EVOLVED
    assert recipe.domain.rubric_shapes[EVOLVED] == CAPPED
    again = read_baseline(recipe.domain)
    assert again == child
    assert configure(CS, child, tmp_path / "best") == recipe.domain


def test_a_prompt_set_cannot_bring_thresholds(tmp_path):
    (tmp_path / "domain.yaml").write_text("preset: prose\n")
    with pytest.raises(RecipeError, match="a prompt set cannot set preset"):
        load(GenerateRecipe, ["recipes/cs/generate.yaml", "recipes/models/laptop.yaml", f"domain.prompts={tmp_path}"])


def test_a_diff_shows_words_and_shape():
    shown = diff(BASE, replace(edit("The question\n", "Your question\n"), shape=CAPPED))
    assert "-The question\n+Your question" in shown
    assert '-  "weight_at_most": 10\n+  "weight_at_most": 7' in shown
    assert diff(BASE, BASE) == ""


def test_the_analyser_is_told_which_criteria_were_met():
    failed = material.give_up(material.PAPER, material.fail_in_every_way(material.CS[:3]))
    shown = describe([failed], 6_000).split("\n")
    assert "Criterion (+3): Names the order of writes as the cause — met by weak 2/2" in shown
    assert "Criterion (+3): Names the order of writes as the cause — met by weak 0/2, strong 1/2" in shown
    assert "Criterion (+3): Names the order of writes as the cause" in shown  # the round that nobody tried
    assert "as the answer says" not in shown


# ── the gates ──


def pairs(wins: int, losses: int, ties: int = 0) -> list[Pair]:
    return [Pair(False, True)] * wins + [Pair(True, False)] * losses + [Pair(True, True)] * ties


def test_pairs_are_counted():
    assert count([*pairs(3, 2, 4), Pair(False, False)]) == (3, 2)


@pytest.mark.parametrize(
    ("results", "decision"),
    [
        (pairs(5, 0), Decision.ACCEPT),  # evidence 10.5
        (pairs(4, 0), Decision.MORE),  # 6.2
        (pairs(0, 2), Decision.MORE),  # 2.3 for the parent
        (pairs(0, 3), Decision.REJECT),  # 3.75 for the parent
        (pairs(2, 2, 20), Decision.MORE),  # 24 of 25 documents
        (pairs(2, 2, 21), Decision.REJECT),  # no lead on all of them
        (pairs(3, 2, 20), Decision.MORE),
        (pairs(6, 3, 90), Decision.MORE),
        (pairs(6, 3, 91), Decision.REJECT),  # a lead, but 100 pairs do not prove it
    ],
)
def test_the_paired_gate(results, decision):
    assert decide_paired(results, documents=25, at_most=100, alpha=0.1) is decision


@pytest.mark.parametrize(
    ("results", "decision"),
    [(pairs(1, 0, 24), Decision.ACCEPT), (pairs(1, 1), Decision.REJECT), (pairs(0, 1), Decision.REJECT)],
)
def test_the_strict_gate(results, decision):
    assert decide_strict(results) is decision


@given(st.integers(0, 400), st.integers(0, 400))
def test_evidence_grows_with_wins_and_is_fair_under_no_difference(wins, losses):
    before = evidence(wins, losses)
    assert before >= 0
    assert evidence(wins + 1, losses) >= before
    # The next discordant pair leaves the evidence unchanged on average, so looking often gains nothing.
    assert (evidence(wins + 1, losses) + evidence(wins, losses + 1)) / 2 == pytest.approx(before, rel=1e-6, abs=1e-12)


def test_few_lucky_documents_count_little():
    assert shrink(3, 3, 0.6, 10) == pytest.approx(9 / 13)
    assert shrink(90, 100, 0.6, 10) == pytest.approx(96 / 110)
    assert shrink(0, 0, 0.6, 10) == 0.6
