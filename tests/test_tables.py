"""Tests tables from whole and missing run folders, with the paper's cells beside ours."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from autodata.config import RecipeError, load
from autodata.eval.question_types import TYPES
from autodata.eval.sampled_answers import ANSWERS, SAMPLED_ANSWER, SampledAnswer, read_task, summarize
from autodata.eval.statistics import Answers, Difference, compare, mean_at_k, reduce_answers
from autodata.eval.tables import write
from autodata.eval.tables.numbers import difference
from autodata.eval.tables.write import build, find_recipes, render
from autodata.fidelity import MARK, MARK_MEANS, PROVENANCE
from autodata.recipes.evaluation import TableRecipe
from autodata.run.records import RunError
from autodata.stats.intervals import ONE_DOCUMENT, Estimate
from autodata.stats.writing import write_decimal, write_estimate, write_table
from autodata.types import Outcome, WrongCall


def answer(task: str, example: int, epoch: int, score: float | None, **values: object) -> SampledAnswer:
    """Make an answer of ten tokens; two examples share a document."""
    known = {"task": task, "example": str(example), "document": str(example // 2), "epoch": epoch, "score": score,
             "outcome": Outcome.ANSWERED, "has_answer": True, "tokens": 10}  # fmt: skip
    return SampledAnswer(**known | values)


def write_run(folder: Path, answers: Sequence[SampledAnswer] = (), **files: object) -> None:
    """Write a finished run with the files of autodata.eval.run, or with other files."""
    folder.mkdir(parents=True)
    by_task: dict[str, list[SampledAnswer]] = {}
    for one in answers:
        by_task.setdefault(one.task, []).append(one)
    files = {"results": {task: summarize(members) for task, members in by_task.items()}} | files
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    lines = [SAMPLED_ANSWER.dump_json(one).decode() + "\n" for one in answers]
    (folder / ANSWERS).write_text("".join(lines))
    spent = {"prompt_tokens": 1000, "completion_tokens": 500}
    ledger = {"weak_solver": spent | {"gpu_seconds": 30.0}, "judge": spent | {"gpu_seconds": None}}
    (folder / "manifest.json").write_text(json.dumps({"finished": "now", "ledger": ledger}))


def make_answers(right: int, task: str = "cot_test", **values: object) -> list[SampledAnswer]:
    """Make two answers to each of 20 questions; those to the first `right` questions are right."""
    return [answer(task, i, epoch, float(i < right), **values) for i in range(20) for epoch in (1, 2)]


def show(name: str, runs: Path, *arguments: str) -> str:
    recipe = load(TableRecipe, [f"recipes/{name}.yaml", f"runs={runs}", *arguments])
    return render(recipe, build(recipe))


def test_the_table_shows_what_was_run_and_the_command_for_what_was_not(tmp_path):
    write_run(
        tmp_path / "eval_base", [*make_answers(5), answer("cot_test", 20, 1, None), answer("agentic_test", 1, 1, 0.5)]
    )
    text = show("demo/table2", tmp_path)
    assert "| SmolLM2-135M | 0.250 [0.0" in text
    assert "mean@2" in text
    assert "answers without a score: 1; if they had scores, the mean would lie between 0.244 and 0.268" in text
    assert "| 0.000 | 3.0 | 30 |" in text, "cut off, thousand tokens, GPU-seconds"
    assert "| SmolLM2-135M + RL on agentic data | – | – |" in text
    assert "`python -m autodata.eval.run recipes/demo/eval_trained.yaml` makes it" in text
    assert "Differences" not in text


def test_a_command_that_makes_several_runs_is_named_once(tmp_path):
    recipe = load(TableRecipe, ["recipes/demo/table2.yaml", f"runs={tmp_path}"])
    first, second = recipe.rows
    second.command = first.command
    text = render(recipe, build(recipe))
    assert text.count(first.command) == 1
    assert f"- {first.label}, {second.label}: no finished run in {first.run}, {second.run}; " in text
    assert "` makes them" in text


def test_differences_are_paired_and_stand_below(tmp_path):
    write_run(tmp_path / "eval_base", make_answers(5))
    write_run(tmp_path / "eval_trained", make_answers(15))
    text = show("demo/table2", tmp_path)
    assert "Differences to SmolLM2-135M, paired by example:" in text
    (row,) = [
        line for line in text.splitlines() if line.startswith("| SmolLM2-135M + RL on agentic data | cot_test |")
    ]
    assert row.startswith(
        "| SmolLM2-135M + RL on agentic data | cot_test | 20 | +0.500 [0.061, 0.813] n=10, p 0.0312 |"
    )
    assert row.count(", p 0.0312 |") == 2, "six documents changed, all upwards: 2 of 2⁶ signs are as extreme"


def test_an_empty_data_quality_table_is_dashes(tmp_path):
    text = show("demo/table1", tmp_path)
    assert "| weak_avg | – | – |" in text
    assert "recipes/demo/dataset.yaml" in text


def test_subsets_stand_beside_the_base_with_difference_and_p(tmp_path):
    parts = ("RealMath", "ARB")
    for name, right in (("base", 5), ("cot", 5), ("agentic", 10)):
        answers = [
            answer("principia_bench", i, e, float(i < right), subset=parts[i % 2]) for i in range(20) for e in (1, 2)
        ]
        write_run(tmp_path / name, answers)
    rows = [f"rows.{i}.run={tmp_path}/{name}" for i, name in enumerate(("base", "cot", "agentic", "none"))]
    recipe = load(TableRecipe, ["recipes/tables/table6.yaml", f"runs={tmp_path}"])
    for row, argument in zip(recipe.rows, rows, strict=True):
        row.run = argument.partition("=")[2]
    cells = {line[0]: line[1:] for line in build(recipe)[0].rows}
    assert cells["subset and metric"][:3] == ["Qwen3.5-4B", "CoT", "CoT − base"]
    base, cot, cot_change, agentic, change, combined, combined_change = cells["overall avg"]
    assert (base, cot, combined, combined_change) == (cot, base, "–", "–")
    assert base.startswith("25.00 [")
    assert agentic.startswith("50.00 [")
    assert change.startswith("+25.00 [")
    none = "cannot be below 0.05: no document differs"
    assert cot_change == f"+0.00 [-30.85, 30.85] n=10, p 1.0000 ({none})", "1 − 0.025^(1/10) may still differ"
    assert cells["RealMath pass"][0].startswith("30.00")
    assert cells["RealMath pass, the paper's"][4:] == ["+1.74", "unknown", "+2.37"]
    assert cells["Physics avg"] == ["–"] * 7
    assert "Problems: overall 20, ARB 10, RealMath 10." in render(recipe, build(recipe))


def test_several_tasks_are_subsets_of_all(tmp_path):
    write_run(tmp_path / "run", [*make_answers(5), *make_answers(15, "agentic_test"), *make_answers(20, "other")])
    recipe = load(TableRecipe, ["recipes/tables/table5.yaml", f"runs={tmp_path}"])
    recipe.rows[0].run = str(tmp_path / "run")
    cells = {line[0]: line[1] for line in build(recipe)[0].rows}
    assert [cells[f"{name} avg"][:5] for name in ("overall", "cot_test", "agentic_test")] == [
        "50.00",
        "25.00",
        "75.00",
    ]
    assert "other avg" not in cells


def test_cut_off_answers_of_each_set_and_of_the_validation(tmp_path):
    cut = {"outcome": Outcome.CUT_OFF, "has_answer": False}
    write_run(tmp_path / "eval_base", [*make_answers(0, **cut), *make_answers(0, "agentic_test")])
    write_run(tmp_path / "eval_trained", [*make_answers(9), *make_answers(0, "agentic_test")])
    main, below = build(load(TableRecipe, ["recipes/demo/table8.yaml", f"runs={tmp_path}"]))
    assert main.rows[0] == ["model", "cot_test, %", "agentic_test, %", "combined validation, %"]
    assert main.rows[1][1:3] == ["100.00 [69.15, 100.00] n=10", "0.00 [0.00, 30.85] n=10"]
    assert main.rows[1][3].startswith("50.00")
    assert below.rows[1][1].startswith("-100.00 [-100.00, -38.30] n=10, p 0.0020")
    (flips,) = build(load(TableRecipe, ["recipes/demo/table9.yaml", f"runs={tmp_path}"]))
    assert flips.rows[1][1:3] == ["18", "100.00 [46.11, 100.00] n=5"]


def test_answers_that_are_meant_to_be_cut_off_are_no_alarm(tmp_path):
    cut = {"outcome": Outcome.CUT_OFF, "has_answer": False}
    run = tmp_path / "eval_base"
    write_run(run, make_answers(9, **cut))
    (run / "manifest.json").write_text(json.dumps({"finished": "now", "inputs": {"kind": "eval"}}))
    assert "- SmolLM2-135M, cot_test: 0 of 40 answered, cut off 40 (100 %)" in show("demo/table2", tmp_path)
    recipe = Path("recipes/demo/eval_base.yaml").absolute()
    (run / "recipe.yaml").write_text(f"include: [{recipe}]\n")
    for name in ("demo/table2", "demo/table8"):
        text = show(name, tmp_path)
        assert "of 40 answered" not in text
        assert "- An answer that ran into its token budget (truncated, cut off) counts like any other here" in text


def test_the_papers_cells_stand_beside_ours_and_are_marked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables", "recipes/tables", f"runs={tmp_path}"])
    write.main()
    shown = capsys.readouterr().out.split("### ")[1:]
    first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, eleventh, twelfth, figure = shown
    assert "| metric | cot | agentic | cot, the paper's | agentic, the paper's |" in first
    assert "| rounds | – | – | 1.00 | 6.59 |" in first
    assert "| weak_avg | – | – | 0.677 | 0.458 |" in first
    assert "`bash slurm/reproduce.sh recipes/tables/table1.yaml recipes/models/paper.yaml` makes it" in first
    assert "| weak_median_pct | – | – | 10.7 | unknown |" in third
    assert "| 4B + RL Agentic data, the paper's | 0.774 | 0.894 | 0.632 | 0.768 | unknown |" in second
    assert "| Qwen3.5-4B, the paper's | 0.630 | 0.758 | 0.366 | 0.484 | unknown |" in second, "zeros at the end stay"
    assert (
        second.count("`bash slurm/reproduce.sh recipes/tables/table2.yaml recipes/models/paper.yaml` makes them") == 1
    )
    assert "| model | gpt5 legal | gpt5 legal_hard | kimi legal | kimi legal_hard | thousand tokens |" in fourth
    assert "| Qwen3.5-4B | – | – | – | – | – | – |" in fourth
    assert "| 4B + RL Agentic, the paper's | 0.441 | 0.315 | 0.393 | 0.266† | unknown | unknown |" in fourth
    assert all(PROVENANCE in table for table in shown if table is not figure), "Figure 3 has no cells of the paper"
    assert PROVENANCE not in figure
    assert [table for table in shown if MARK in table] == [fourth]
    assert f"{PROVENANCE} {MARK} {MARK_MEANS}" in fourth
    assert "| overall avg, the paper's | 68.66 | 71.08 | +2.42 | 71.86 | +3.20 | 71.36 | +2.70 |" in fifth
    assert "| ARB pass, the paper's | unknown | unknown | unknown | unknown | +0.00 | unknown | +2.13 |" in sixth
    assert "| 124 |  | 79.6 |" in seventh
    assert "| Qwen3.5-4B, the paper's | unknown | unknown | 23.75 | 17.06 |" in eighth
    assert "| Agentic, the paper's | 945 | 54.81 | 41.06 | 4.13 | unknown | unknown | unknown |" in ninth
    assert "| mixed | – | – | 27.8 |" in eleventh
    assert "| · recall | – | – | unknown |" in eleventh
    assert "| gpt5 legal | gpt5 legal normalised |" in twelfth
    assert "| 4B + RL CoT, the paper's | unknown | unknown |" in twelfth
    assert "| 4B + RL CoT data | cot_test | – | – | – |" in figure
    assert (tmp_path / "table1.md").read_text().startswith("### ")


@pytest.mark.parametrize("name", ["tables/table4", "tables/table12"])
def test_a_table_without_a_run_graded_by_gpt5_says_how_to_get_its_columns(tmp_path, name):
    assert "append recipes/legal/grader_gpt5.yaml to the command" in show(name, tmp_path)


def test_a_table_without_the_papers_cells_says_nothing_of_them(tmp_path):
    text = show("demo/table2", tmp_path)
    assert PROVENANCE not in text
    assert MARK not in text


@pytest.mark.parametrize("name", ["table3", "table5", "table7", "table11"])
def test_every_shape_marks_what_one_account_alone_reports(name, tmp_path):
    recipe = load(TableRecipe, [f"recipes/tables/{name}.yaml", f"runs={tmp_path}"])
    label, cells = next(iter(recipe.paper.items()))
    recipe.one_reader = [next(iter(cells))]
    text = render(recipe, build(recipe))
    assert f"{cells[recipe.one_reader[0]]}{MARK} |" in text
    assert text.count(MARK_MEANS) == 1
    recipe.paper = {label: dict.fromkeys(cells)}
    assert MARK not in render(recipe, build(recipe)), "an unknown cell bears no mark"


def test_a_mark_on_no_cell_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="one_reader: the paper's cells have no kimi hard"):
        show("tables/table4", tmp_path, "one_reader=[kimi hard]")


def test_a_row_of_the_paper_stands_beneath_ours(tmp_path):
    recipe = load(TableRecipe, ["recipes/demo/table2.yaml", f"runs={tmp_path}"])
    recipe.paper = {"SmolLM2-135M": {"cot_test mean": "0.630"}}
    lines = [line for line in render(recipe, build(recipe)).splitlines() if line.startswith("| SmolLM2-135M")]
    assert lines[1].startswith("| SmolLM2-135M, the paper's | 0.630 | unknown | unknown |")


def test_learning_curves_become_a_picture_and_a_table(tmp_path):
    points = [{"step": step, "score": score, "cut_off": 0.0} for step, score in ((0, 0.1), (20, 0.6), (40, 0.5))]
    write_run(tmp_path / "grpo", curve={"train": [], "watched": {"cot_test": points, "probe": points}})
    recipe = load(TableRecipe, ["recipes/tables/figure3.yaml", f"runs={tmp_path}"])
    recipe.rows[1].run = str(tmp_path / "grpo")
    (table,) = build(recipe)
    assert table.rows[3] == [
        "4B + RL Agentic data",
        "cot_test",
        "0.100 (step 0)",
        "0.600 (step 20)",
        "0.500 (step 40)",
    ]
    assert table.rows[1][2:] == ["–", "–", "–"]
    assert (tmp_path / "figure3.png").read_bytes().startswith(b"\x89PNG")


def test_the_pass_rate_over_iterations(tmp_path):
    write_run(tmp_path / "meta")
    lines = [json.dumps({"iteration": i, "best_pass_rate": rate}) for i, rate in enumerate((0.4, 0.4, 0.6, 0.6))]
    (tmp_path / "meta" / "iterations.jsonl").write_text("\n".join(lines))
    recipe = load(TableRecipe, ["recipes/tables/table7.yaml", f"runs={tmp_path}"])
    recipe.rows[0].run = str(tmp_path / "meta")
    (table,) = build(recipe)
    assert table.rows[1:] == [["0", "40.00", ""], ["2", "60.00", ""], ["0", "", "62.1"], ["124", "", "79.6"]]
    assert (tmp_path / "table7.png").read_bytes().startswith(b"\x89PNG")


def test_question_types_have_shares_with_intervals(tmp_path):
    types = {"reasoning": 3, "mixed": 0, "knowledge": 1}
    subtypes = {subtype: 0 for names in TYPES.values() for subtype in names}
    results = {"labelled": 4, "unlabelled": 2, "types": types, "subtypes": subtypes | {"proof": 3, "recall": 1}}
    write_run(tmp_path / "types", results=results)
    recipe = load(TableRecipe, ["recipes/tables/table11.yaml", f"runs={tmp_path}"])
    recipe.rows[0].run = str(tmp_path / "types")
    (table,) = build(recipe)
    assert table.rows[1] == ["reasoning", "3", "75.00 [30.06, 95.44] n=4", "52"]
    assert table.notes == ["Questions without a readable label, which no share includes: 2."]


def test_cells_say_what_is_known():
    assert write_estimate(None) == write_decimal(None) == difference(None) == "–"
    assert write_estimate(Estimate(0.5, None, None)) == "0.500"
    assert write_estimate({"value": 0.5, "low": 0.25, "high": 1.0}) == "0.500 [0.250, 1.000]", (
        "a file of before n was kept"
    )
    assert write_estimate(Estimate(0.5, 0.25, 1.0, 6)) == "0.500 [0.250, 1.000] n=6"
    assert write_estimate(Estimate(0.5, None, None, 1, ONE_DOCUMENT)) == f"0.500 ({ONE_DOCUMENT}, n=1)"
    assert difference(Difference(Estimate(-0.5, -0.7, -0.3), None, 1)) == "-0.500 [-0.700, -0.300], p –"


@pytest.mark.parametrize(
    ("changed", "p", "text"),
    [
        (0, 1.0, " (cannot be below 0.05: no document differs)"),
        (1, 1.0, " (cannot be below 0.05: only 1 document differs)"),
        (2, 0.5, " (cannot be below 0.05: only 2 documents differ)"),
        (5, 0.0625, " (cannot be below 0.05: only 5 documents differ)"),
        (6, 0.03125, ""),
    ],
)
def test_a_p_that_cannot_be_small_says_so(changed, p, text):
    before = {str(i): Answers(str(i), (0.0,)) for i in range(8)}
    after = {str(i): Answers(str(i), (float(i < changed),)) for i in range(8)}
    comparison = compare(before, after)
    assert (comparison.changed, comparison.p) == (changed, p), (
        "the exact test reaches its smallest p where all change alike"
    )
    assert difference(comparison).endswith(f"n=8, p {p:.4f}{text}")


def test_cells_of_markdown_are_escaped():
    assert write_table([["a|b", "c\nd"], ["1", "2"]]) == "| a\\|b | c d |\n|---|---|\n| 1 | 2 |"


def test_best_and_pass_are_compared_as_means_are():
    first, second = {"a": Answers("d", (0.0, 0.5))}, {"a": Answers("d", (0.25, 1.0))}
    comparison = compare(*(reduce_answers(answers, lambda one: mean_at_k(one)) for answers in (first, second)))
    assert comparison.estimate.value == 0.375
    assert reduce_answers({"a": Answers("d", (None,))}, mean_at_k) == {}


def test_an_unknown_shape_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(RecipeError, match="data quality, held-out"):
        show("demo/table1", tmp_path, "shape=other")
    with pytest.raises(RecipeError, match="rows: name the runs"):
        show("demo/table1", tmp_path, "rows=[]")
    with pytest.raises(RecipeError, match="no table"):
        find_recipes(tmp_path)


def test_answers_of_another_task_and_of_no_evaluation_are_named(tmp_path):
    write_run(tmp_path / "run", [answer("cot_test", 1, 1, float("nan"))])
    assert read_task(tmp_path / "run", "cot_test")[0].score is None, "NaN is no score"
    with pytest.raises(WrongCall, match=r"--task agentic_test: .* has no answers to it, only to cot_test"):
        read_task(tmp_path / "run", "agentic_test")
    with pytest.raises(RunError, match=r"no answers\.jsonl; evaluate a model"):
        read_task(tmp_path, "cot_test")
