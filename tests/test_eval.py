import asyncio
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.config import load
from autodata.recipes import TableRecipe
from autodata.rubric import judge as judge_rubric
from autodata.types import CANDIDATE, REPLY, Candidate, Criterion, Judgement, Outcome, Reply
from eval import tables
from eval.statistics import Answers, best_at_k, mean_at_k, unscored_bounds
from eval.tables import render, to_markdown
from eval.tasks import judge

SCORES = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=4)
ANSWERS = st.lists(st.builds(Answers, st.sampled_from("abc"), SCORES.map(tuple)), max_size=6)


def test_mean_and_best_at_k():
    answers = [Answers("a", (0.0, 1.0)), Answers("b", (0.5, 0.5))]
    assert mean_at_k(answers).value == 0.5
    assert best_at_k(answers).value == 0.75


def test_unscored_samples_are_left_out_and_bounded():
    answers = [Answers("a", (1.0, None)), Answers("b", (None, None))]
    assert mean_at_k(answers).value == 1.0
    assert unscored_bounds(answers) == (0.25, 1.0)
    assert mean_at_k([Answers("a", (None,))]) is None


def test_intervals_are_clustered_by_document():
    spread = [Answers(str(i), (float(i % 2),)) for i in range(20)]
    repeated = [Answers(str(i % 2), (float(i % 2),)) for i in range(20)]
    narrow, wide = mean_at_k(spread), mean_at_k(repeated)
    assert wide.high - wide.low > narrow.high - narrow.low > 0.2
    assert mean_at_k(spread[:1]).low is None


@given(ANSWERS)
def test_estimates_stay_in_order_and_in_range(answers):
    mean, best, bounds = mean_at_k(answers), best_at_k(answers), unscored_bounds(answers)
    if mean is None:
        return
    assert 0 <= mean.value <= best.value + 1e-9
    assert bounds[0] <= bounds[1] <= 1 + 1e-9
    if mean.low is not None:
        assert not math.isnan(mean.low)
        assert -1e-9 <= mean.low <= mean.value + 1e-9 <= mean.high + 2e-9


def write_results(folder: Path, value: float, unscored: int = 0) -> None:
    folder.mkdir(parents=True)
    estimate = {"value": value, "low": value - 0.1, "high": value + 0.1}
    result = {"examples": 4, "documents": 3, "k": 16, "mean": estimate, "best": estimate, "truncation_rate": 0.25,
              "unscored": unscored, "mean_bounds": [0.1, 0.2]}  # fmt: skip
    (folder / "results.json").write_text(json.dumps({"cot_test": result, "agentic_test": result}))
    (folder / "manifest.json").write_text('{"finished": "now"}')


def test_the_table_shows_what_was_run_and_the_command_for_what_was_not(tmp_path):
    write_results(tmp_path / "eval_base", 0.3, unscored=2)
    text = render(load(TableRecipe, ["recipes/demo/table2.yaml", f"runs={tmp_path}"]))
    assert "| SmolLM2-135M | 0.300 [0.200, 0.400] |" in text
    assert "mean@16" in text
    assert "2 unscored samples, mean within 0.100 and 0.200" in text
    assert "| SmolLM2-135M + RL on agentic data | – | – |" in text
    assert "make it with `python -m eval.run recipes/demo/eval_trained.yaml`" in text


def test_an_empty_data_quality_table_is_dashes(tmp_path):
    text = render(load(TableRecipe, ["recipes/demo/table1.yaml", f"runs={tmp_path}"]))
    assert "| weak_avg | – | – |" in text
    assert "recipes/demo/dataset.yaml" in text


def test_the_papers_cells_stand_beside_ours_and_are_marked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables", "recipes/tables", f"runs={tmp_path}"])
    tables.main()
    first, second, third, fourth, eighth, ninth = capsys.readouterr().out.split("### ")[1:]
    assert "| metric | cot | agentic | cot, the paper's | agentic, the paper's |" in first
    assert "| weak_avg | – | – | 0.677 | 0.458 |" in first
    assert "python -m autodata.dataset recipes/cs/dataset.yaml" in first
    assert "| weak_median_pct | – | – | 10.7 | unknown |" in third
    assert "| 4B + RL Agentic data, the paper's | 0.774 | 0.894 | 0.632 | 0.768 | unknown |" in second
    assert "python -m eval.run recipes/cs/eval_agentic.yaml" in second
    assert "| model | gpt5 legal | gpt5 legal_hard | kimi legal | kimi legal_hard |" in fourth
    assert "| Qwen3.5-4B | – | – | – | – |" in fourth
    assert "| 4B + RL Agentic, the paper's | 0.441 | 0.315 | 0.393 | 0.266 |" in fourth
    assert "| Qwen3.5-4B, the paper's | unknown | unknown | 23.75 |" in eighth
    assert "| Agentic, the paper's | 945 | 54.81 | 41.06 | 4.13 | unknown | unknown | unknown |" in ninth
    assert (tmp_path / "table1.md").read_text().startswith("### ")
    assert (tmp_path / "table1.csv").read_text().startswith('metric,cot,agentic,"cot, the paper\'s"')
    assert r"weak\_avg & – & – & 0.677 & 0.458" in (tmp_path / "table1.tex").read_text()


def test_a_row_of_the_paper_stands_beneath_ours(tmp_path):
    recipe = load(TableRecipe, ["recipes/demo/table2.yaml", f"runs={tmp_path}"])
    recipe.paper = {"SmolLM2-135M": {"cot_test mean": 0.63}}
    lines = [line for line in render(recipe).splitlines() if line.startswith("| SmolLM2-135M")]
    assert lines[1].startswith("| SmolLM2-135M, the paper's | 0.63 | unknown | unknown |")


def test_cells_cannot_break_the_table():
    assert to_markdown([["a|b", "c\nd"], ["1", "2"]]) == "| a\\|b | c d |\n|---|---|\n| 1 | 2 |\n"


@pytest.mark.parametrize("shape", ["other"])
def test_an_unknown_shape_is_named(tmp_path, shape):
    with pytest.raises(ValueError, match="data quality, held-out"):
        render(load(TableRecipe, ["recipes/demo/table1.yaml", f"runs={tmp_path}", f"shape={shape}"]))


@pytest.mark.parametrize(("met", "score"), [((True,), 1.0), (None, None)])
def test_a_failed_judge_leaves_a_sample_unscored(met, score):
    candidate = Candidate("They keep", "records", (Criterion("next", 1),))

    class Domain:
        seed = 0

        async def judge_reply(self, candidate, reply, seed):
            return judge_rubric(candidate.rubric, met) if met else Judgement(None, None, "unreadable")

    reply = Reply(Outcome.OK, " records", "", "", "m", 1, 1, 0.0)
    kept = {"candidate": CANDIDATE.dump_json(candidate).decode(), "reply": REPLY.dump_python(reply, mode="json")}
    state = SimpleNamespace(sample_id="a", epoch=1, metadata=kept)
    found = asyncio.run(judge(Domain())(state, None))
    assert math.isnan(found.value) if score is None else found.value == score
    assert found.answer == " records"
