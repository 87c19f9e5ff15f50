"""Tests the CSV and LaTeX files of tables: what a program reads from the one, and what LaTeX makes of the other."""

import csv
import io
import re

import pytest

from autodata.config import RecipeError, load
from autodata.eval.statistics import Difference
from autodata.eval.tables.files import escape_latex, write_csv, write_latex
from autodata.eval.tables.numbers import count, difference, estimate, milestone, papers_number
from autodata.eval.tables.write import build, print_table
from autodata.fidelity import MARK_MEANS, PROVENANCE
from autodata.recipes.evaluation import TableRecipe
from autodata.stats.intervals import ONE_DOCUMENT, Estimate
from autodata.stats.writing import DASH, write_points


def read_csv(*rows: list[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(write_csv(rows))))


def test_bounds_n_and_p_have_columns_of_their_own():
    change = difference(Difference(Estimate(-0.5, -0.7, -0.3, 8), 0.03125, 8, 6))
    score = estimate(Estimate(0.5, 0.25, 1.0, 6), write_points)
    (row,) = read_csv(["model", "score", "change"], ["4B, trained", score, change])
    assert row == {
        "model": "4B, trained",
        "score": "50.00",
        "score lower": "25.00",
        "score upper": "100.00",
        "score n": "6",
        "change": "-0.500",
        "change lower": "-0.700",
        "change upper": "-0.300",
        "change n": "8",
        "change p": "0.0312",
    }
    assert change == "-0.500 [-0.700, -0.300] n=8, p 0.0312", "readers see one text"


def test_what_is_missing_is_empty_and_the_columns_stay():
    rows = read_csv(
        ["model", "score", "change"],
        ["a", estimate(None), difference(None)],
        ["a, the paper's", papers_number("0.630", False), papers_number(None, False)],
        ["b", DASH, DASH],
    )
    assert [row["score"] for row in rows] == ["", "0.630", ""]
    assert [row["change"] for row in rows] == ["", "", ""]
    assert {"score lower", "score upper", "score n", "change p"} <= set(rows[0])
    assert not any(name.endswith("note") for name in rows[0])


def test_reasons_and_marks_are_notes_so_that_numbers_stay_numbers():
    rows = read_csv(
        ["model", "score", "change"],
        [
            "a",
            estimate(Estimate(0.5, None, None, 1, ONE_DOCUMENT)),
            difference(Difference(Estimate(0, 0, 0, 2), 1, 2)),
        ],
        ["a, the paper's", papers_number("0.266", True), papers_number(723, False)],
    )
    assert [(row["score"], row["score note"]) for row in rows] == [("0.500", ONE_DOCUMENT), ("0.266", MARK_MEANS)]
    assert rows[0]["score lower"] == "" and rows[0]["score n"] == "1"
    assert rows[0]["change note"] == "p cannot be below 0.05: no document differs"
    assert rows[1]["change"] == "723"


def test_thousands_and_steps():
    (row,) = read_csv(["a", "b", "c"], [count(1569.4), milestone((20, 0.6)), milestone(None)])
    assert row == {"a": "1569", "b": "0.600", "b step": "20", "c": "", "c step": ""}


@pytest.mark.parametrize("name", ["table2", "table4", "table5"])
def test_every_cell_of_a_csv_file_is_a_number_a_name_or_empty(name, tmp_path):
    recipe = load(TableRecipe, [f"recipes/tables/{name}.yaml", f"runs={tmp_path}"])
    print_table(recipe)
    header, *rows = csv.reader((tmp_path / f"{name}.csv").open(encoding="utf-8"))
    assert header[2].endswith(" lower") and header[3].endswith(" upper"), "the first numbers have bounds without a run"
    numbers = [cell for row in rows for at, cell in enumerate(row) if at and not header[at].endswith(" note")]
    assert any(numbers)
    assert all(re.fullmatch(r"([+-]?\d+(\.\d+)?)?", cell) for cell in numbers)


def test_latex_has_a_caption_a_label_and_only_its_own_commands(tmp_path):
    recipe = load(TableRecipe, ["recipes/tables/table4.yaml", f"runs={tmp_path}"])
    recipe.title = "50 % of $x_1$ & more"
    print_table(recipe)
    text = (tmp_path / "table4.tex").read_text(encoding="utf-8")
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}[htbp]\n\\centering\n")
    assert "\\caption{50 \\% of \\$x\\_1\\$ \\& more. " in text
    assert PROVENANCE.rstrip(".") in text and MARK_MEANS.rstrip(".") in text
    assert "\\label{tab:table4}" in text
    assert "4B + RL Agentic, the paper's & 0.441 & 0.315 & 0.393 & 0.266\\textdagger{} & unknown" in text
    columns = re.search(r"\\begin{tabular}{(l+)}", text)[1]
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {len(columns)}
    assert text.isascii(), "so that every LaTeX reads it"
    assert len(re.findall(r"(?<!\\){", text)) == len(re.findall(r"(?<!\\)}", text))


def test_the_caption_explains_brackets_only_if_there_are_any(tmp_path):
    recipe = load(TableRecipe, ["recipes/demo/table2.yaml", f"runs={tmp_path}"])
    print_table(recipe)
    assert "Brackets" not in (tmp_path / "table2.tex").read_text()


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        (
            "50 % & $1_a #2 {b} ~ ^ \\",
            r"50 \% \& \$1\_a \#2 \{b\} \textasciitilde{} \textasciicircum{} \textbackslash{}",
        ),
        ("-0.500 [-0.700, 0.300]", "$-$0.500 [$-$0.700, 0.300]"),
        ("Qwen3.5-4B, gpt-5", "Qwen3.5-4B, gpt-5"),
        ("CoT − base – 1 †", r"CoT $-$ base \textendash{} 1 \textdagger{}"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_is_escaped_and_a_minus_is_no_hyphen(text, latex):
    assert escape_latex(text) == latex


def test_a_row_or_label_cannot_break_the_table():
    text = write_latex([["*", "b"], ["[x]", "1"]], "c", "my table}#1")
    assert "{}* & b \\\\" in text and "{}[x] & 1 \\\\" in text, (
        "after a line break, * and [ would be read as its options"
    )
    assert "\\label{tab:my-table-1}" in text


def test_a_number_of_the_paper_that_lost_its_zeros_is_refused(tmp_path):
    recipe = load(TableRecipe, ["recipes/tables/table2.yaml", f"runs={tmp_path}"])
    recipe.paper["Qwen3.5-4B"]["cot_test mean"] = 0.63
    with pytest.raises(RecipeError, match=r"paper\.Qwen3\.5-4B\.cot_test mean=0\.63: write it in quotes"):
        build(recipe)
    recipe.paper["Qwen3.5-4B"]["cot_test mean"] = 723
    build(recipe)
