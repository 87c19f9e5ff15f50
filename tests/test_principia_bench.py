"""Tests Principia bench and the types of questions end to end on our own rows, with a scripted model and judge."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from autodata.config import RecipeError, load
from autodata.eval import question_types
from autodata.eval.question_types import TYPES, count, read_subtype
from autodata.eval.sampled_answers import read_task
from autodata.recipes.evaluation import EvalRecipe, PrincipiaConfig
from autodata.run.records import RunError
from tests.helpers.commands import fails
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.training_world import make_dataset

pytestmark = pytest.mark.slow

ROWS = [
    {"id": "a", "problem_statement": "Integrate 2x.", "answer": "x^2 + C", "source_data": "RealMath"},
    {"id": "b", "problem_statement": "Name the smallest non-abelian group.", "answer": "S_3", "source_data": "ARB"},
    {"id": "c", "problem_statement": "Which law is it?", "answer": "Hooke's law", "source_data": "Physics"},
]


def write(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def play(body: dict, count: int) -> Scripted:
    """Answer the integral correctly, the group in words that only a judge can compare, and the law with nothing."""
    text = str(body["messages"])
    if "equivalent" in text:
        return completion(json.dumps({"reason": "so", "equivalent": "S_3" in text}))
    if "Integrate" in text:
        return completion("Final answer: $x^2 + C$")
    if "group" in text:
        return completion("Final answer: the symmetric group on three letters")
    return completion("", "length", reasoning="and so on")


def arguments(path: Path, run: Path, url: str, *more: str) -> list[str]:
    return [
        "recipes/science/eval_base.yaml",
        f"run={run}",
        "dataset=null",
        "samples=2",
        f"principia.path={path}",
        "label=fake",
        "evaluated={weights: null, endpoint: fake}",
        "models.judge.endpoint=fake",
        "models.endpoints.fake.model=fake",
        f"models.endpoints.fake.base_url={url}",
        "models.endpoints.fake.retries=0",
        *more,
    ]


def evaluate(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["run", *arguments])
    from autodata.eval import run as eval_run

    eval_run.main()


def test_the_benchmark_by_source(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "bench" / "data" / "test-00000-of-00001.parquet", *ROWS, ROWS[0] | {"answer": ""})
    with fake_server(play) as server:
        evaluate(monkeypatch, *arguments(path.parent.parent, tmp_path / "run", server.url))
        calls = len(server.requests)
        evaluate(monkeypatch, *arguments(path.parent.parent, tmp_path / "run", server.url))
        assert len(server.requests) == calls
    shown = capsys.readouterr()
    assert "up to date" in shown.out
    assert "principia_bench: 3 problems, answers per problem: 2\nprincipia: revision not pinned" in shown.err
    result = json.loads((tmp_path / "run" / "results.json").read_text())["principia_bench"]
    assert (result["examples"], result["k"], result["mean"]["value"]) == (3, 2, pytest.approx(2 / 3))
    assert result["pass"]["value"] == pytest.approx(2 / 3)
    assert {name: part["mean"]["value"] for name, part in result["subsets"].items()} == {
        "ARB": 1.0,
        "Physics": 0.0,
        "RealMath": 1.0,
    }
    assert result["truncation_rate"] == pytest.approx(1 / 3)
    answers = read_task(tmp_path / "run", "principia_bench")
    assert [(a.subset, a.epoch, a.is_cut_off) for a in answers][-2:] == [("Physics", 1, True), ("Physics", 2, True)]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["left_out"] == {"principia_bench": 1}
    costs = manifest["ledger"].values()
    assert sum(cost["calls"] for cost in costs) == calls - 1, "one call asked whether the server is there"
    assert all(cost["gpu_seconds"] is None for cost in costs)


def test_rows_of_any_file_with_other_names_of_columns(tmp_path):
    from autodata.eval.principia import read_problems

    rows = [{"q": "Two and two?", "a": "4", "s": None}, {"q": " ", "a": "5", "s": "x"}]
    config = PrincipiaConfig(str(write(tmp_path / "b.jsonl", *rows)), problem="q", answer="a", subset="s")
    (problem,), left_out = read_problems(config)
    assert (problem.subset, problem.candidate.reference_answer, left_out) == ("unknown", "4", 1)
    assert problem.candidate.rubric[0].weight == 1
    twice = PrincipiaConfig(str(write(tmp_path / "c.jsonl", ROWS[0], ROWS[0])))
    assert len({p.id for p in read_problems(twice)[0]}) == 2
    assert len(read_problems(PrincipiaConfig(twice.path, limit=1))[0]) == 1


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        ([{"problem_statement": "q"}], {}, "principia.answer=answer: no such column; the file has problem_statement"),
        ([ROWS[0] | {"answer": None}], {}, "no row has both a problem and an answer"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, rows, values, message):
    from autodata.eval.principia import read_problems

    with pytest.raises(RecipeError, match=message):
        read_problems(PrincipiaConfig(str(write(tmp_path / "b.jsonl", *rows)), **values))


def test_a_folder_without_files_and_a_data_set_without_a_revision_are_errors(tmp_path):
    from autodata.eval.principia import find_files, locate

    with pytest.raises(RecipeError, match="download facebook/principia-bench there"):
        find_files(PrincipiaConfig(str(tmp_path)))
    with pytest.raises(RecipeError, match="pin its revision"):
        locate("owner/name", "")


def test_a_data_set_of_the_hub_is_read_from_its_cache(tmp_path, monkeypatch):
    from autodata.eval.principia import locate

    commit = "0" * 40
    folder = tmp_path / "datasets--facebook--principia-bench" / "snapshots" / commit
    write(folder / "test.jsonl", *ROWS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_OFFLINE", True)
    assert locate("facebook/principia-bench", commit) == folder
    with pytest.raises(RunError, match="not on this machine, not in the Hub's cache, and the download failed"):
        locate("facebook/principia-bench", "1" * 40)


def test_only_the_judge_of_science_compares_answers(tmp_path, monkeypatch):
    path = write(tmp_path / "b.jsonl", *ROWS)
    with fails(r"only the judge of the science domain compares its answers; set domain\.name=science"):
        evaluate(monkeypatch, *arguments(path, tmp_path / "run", "http://127.0.0.1:9/v1", "domain.name=cs"))


def test_a_dataset_of_another_domain_is_refused(tmp_path, monkeypatch):
    dataset = make_dataset(tmp_path / "dataset", domain="cs")
    with fails(r"domain\.name=science: the arm agentic of .* was made for cs"):
        evaluate(
            monkeypatch,
            *arguments(tmp_path, tmp_path / "run", "http://127.0.0.1:9/v1", f"dataset={dataset}", "principia=null"),
        )


def annotate(body: dict, count: int) -> Scripted:
    """Give all questions one type, and an unreadable one to the question with a 2 in its name."""
    if body.get("max_tokens") == 1:
        return completion("x")
    kind = "divination" if "agentic-train-2" in str(body["messages"]) else "proof"
    return completion(json.dumps({"reason": "so", "subtype": kind}))


def test_questions_are_sorted_by_type(tmp_path, monkeypatch, capsys):
    dataset = make_dataset(tmp_path / "dataset", train=6, test=2)
    with fake_server(annotate) as server:
        command = [
            "types",
            "recipes/science/question_types.yaml",
            f"run={tmp_path}/run",
            f"dataset={dataset}",
            "models.judge.endpoint=fake",
            "models.endpoints.fake.model=fake",
            "examples=7",
            "max_failures=0.2",
            f"models.endpoints.fake.base_url={server.url}",
        ]
        monkeypatch.setattr("sys.argv", command)
        question_types.main()
        calls = len(server.requests)
        question_types.main()
        assert len(server.requests) == calls
    assert "up to date" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    labels = json.loads((tmp_path / "run" / "labels.json").read_text())
    assert len(labels) == 7
    assert results["labelled"] + results["unlabelled"] == 7
    assert results["types"]["reasoning"] == results["subtypes"]["proof"] == results["labelled"] >= 6
    monkeypatch.setattr("sys.argv", [*command, "arm=other", f"run={tmp_path}/other"])
    with fails("no examples of arm=other"):
        question_types.main()


def test_types_are_counted_with_their_subtypes():
    counts = count(["proof", "recall", None, "proof"])
    assert (counts["labelled"], counts["unlabelled"]) == (3, 1)
    assert counts["types"] == {"reasoning": 2, "mixed": 0, "knowledge": 1}
    assert sum(len(subtypes) for subtypes in TYPES.values()) == len(counts["subtypes"])
    with pytest.raises(ValueError, match="'other' is not one of the subtypes"):
        read_subtype({"subtype": "other"})


def test_the_recipe_of_the_paper_names_the_benchmark():
    recipe = load(EvalRecipe, ["recipes/science/eval_combined.yaml"])
    assert recipe.principia.subset == "source_data"
    assert (recipe.samples, recipe.models.weak_solver.sampling.max_tokens) == (8, 65_536)
