"""Tests autodata.reproduce: the graph of every table, what is finished, the jobs, and what a dry run says."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autodata import status
from autodata.cluster import jobs
from autodata.cluster.jobs import QueuedJob
from autodata.cluster.resources import Site
from autodata.cluster.submit import Call, write_job
from autodata.config import REPO, RecipeError
from autodata.data.examples import EXAMPLES
from autodata.eval.tables.made import note_made
from autodata.plan.problems import count_arm
from autodata.reproduce import follow, needs, show
from autodata.reproduce.costs import Evidence, forecast, is_alike, measure
from autodata.reproduce.finished import find_finished, require_same
from autodata.reproduce.graph import Step, build
from autodata.reproduce.nodes import count_most_nodes, count_step_gpus, schedule
from autodata.reproduce.record import STEPS, VERIFY, Cost, Record, StepRecord, make_record, read_record
from autodata.reproduce.request import read_request
from autodata.reproduce.slurm.jobs import make_command, name_job, submit_all
from autodata.reproduce.slurm.room import Room
from autodata.run.folder import MANIFEST, Run
from autodata.run.records import RunError, hash_path
from autodata.types import WrongCall
from autodata.verify import VERIFIED
from tests.helpers import golden_dry_runs

pytestmark = pytest.mark.slow

PAPER = "recipes/models/paper.yaml"
TABLES = sorted((REPO / "recipes/tables").glob("*.yaml"))


@dataclass
class Settings:
    """Stands in for a recipe."""

    of_a_test: bool = True


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPO)


def graph(*arguments: str, scale: str = "paper") -> list[Step]:
    return build(read_request(list(arguments), scale))


def finish(step: Step, outputs: Mapping[str, str] | None = None, **inputs: object) -> None:
    """Write a finished run where a step expects it."""
    with Run(step.target, "any", step.recipe or Settings(), inputs) as run:
        run.start()
        run.finish([])
        run.note(outputs=outputs or {})


def verify_rows(dataset: Step) -> Path:
    """Write a finished data set that has passed the check; return the file of its rows."""
    file = Path(dataset.target) / EXAMPLES
    finish(dataset)
    file.write_text("rows")
    finish(dataset, outputs={EXAMPLES: hash_path(file)})
    file.with_name(VERIFIED).write_text(json.dumps({EXAMPLES: hash_path(file)}))
    return file


def write_corpus(folder: Path, name: str = "part.jsonl.gz") -> str:
    """Write a file that the ingest of a domain reads by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x" * 36_000)
    return str(folder)


def ingest(folder: Path, is_finished: bool = True) -> None:
    """Write the run of an ingest."""
    with Run(str(folder), "ingest", Settings(), {}) as run:
        run.start()
        if is_finished:
            run.finish([])


def require_order(steps: list[Step]) -> None:
    for number, step in enumerate(steps):
        assert {*step.after} <= {earlier.name for earlier in steps[:number]}, step.name


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_table_has_a_graph_that_begins_with_a_corpus(path):
    steps = graph(str(path), PAPER)
    require_order(steps)
    assert [step.module for step in steps if step.module == "autodata.corpora.ingest"]
    assert steps[-1].module == "autodata.eval.tables"
    readers = [step for step in steps if not step.after]
    assert {step.module for step in readers} <= {"autodata.corpora.ingest", "autodata.eval.run"}
    assert all(
        step.recipe.dataset is None for step in readers if step.module == "autodata.eval.run"
    )  # benchmarks need no corpus
    trainings = {step.name for step in steps if step.module == "autodata.training.grpo"}
    assert all(trainings.isdisjoint(step.after) for step in steps if step.name in trainings)  # side by side


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_small_graph_is_the_same_one_without_a_gpu(path):
    steps, paper = graph(str(path), PAPER, scale="small"), graph(str(path), PAPER)
    require_order(steps)
    assert {step.module for step in steps} == {step.module for step in paper}
    assert sum(count_step_gpus(step.recipe) for step in steps) == 0
    assert needs.list_weights(steps) == {}
    assert needs.list_missing_data(steps) == {}


def test_the_graph_of_table_2():
    steps = {step.name: step for step in graph("recipes/tables/table2.yaml", PAPER)}
    assert (
        steps["generate runs/cs/agentic"].after == steps["generate runs/cs/cot"].after == ("ingest runs/ingest/s2orc",)
    )
    assert steps["dataset runs/cs/dataset"].after == ("generate runs/cs/agentic", "generate runs/cs/cot")
    assert steps["grpo runs/cs/grpo"].after == steps["grpo runs/cs/grpo_cot"].after == ("verify runs/cs/dataset",)
    assert steps["eval runs/cs/eval_cot"].after == ("grpo runs/cs/grpo_cot", "verify runs/cs/dataset")
    assert steps["eval runs/cs/eval_base"].after == ("verify runs/cs/dataset",)
    assert list(steps)[-1] == "tables runs/tables/table2.md"


def test_rows_that_only_cite_the_paper_need_no_run(tmp_path):
    text = Path("recipes/tables/table2.yaml").read_text()
    cited = text.replace("run: runs/cs/eval_cot\n", "run: ''\n")
    (tmp_path / "table.yaml").write_text(cited)
    assert "grpo runs/cs/grpo_cot" not in {step.name for step in graph(str(tmp_path / "table.yaml"), PAPER)}
    for name in ("base", "agentic"):
        cited = cited.replace(f"run: runs/cs/eval_{name}\n", "run: ''\n")
    (tmp_path / "table.yaml").write_text(cited)
    with pytest.raises(RecipeError, match="no row names a run"):
        graph(str(tmp_path / "table.yaml"), PAPER)


def test_files_and_values_go_to_the_steps_that_have_their_keys(tmp_path):
    lora, corpus = "recipes/training/one_gpu.yaml", write_corpus(tmp_path)
    values = f"corpus={corpus}", "samples=1", "trainer.max_steps=5"
    steps = graph("recipes/tables/table2.yaml", PAPER, lora, *values)
    given = {step.name: step.arguments[1:] for step in steps}
    assert given["ingest runs/ingest/s2orc"] == (f"path={corpus}",)
    assert given["generate runs/cs/cot"] == (PAPER,)
    assert given["dataset runs/cs/dataset"] == given["tables runs/tables/table2.md"] == ()
    assert given["grpo runs/cs/grpo"] == (PAPER, lora, "trainer.max_steps=5")
    assert given["eval runs/cs/eval_base"] == (PAPER, "samples=1")


@pytest.mark.parametrize(
    ("value", "modules"),
    [
        ("principia.limit=5", {"autodata.eval.run"}),  # the ingest has a group of this name too, with other keys
        ("principia.max_chars=500", {"autodata.corpora.ingest"}),
        ("domain.max_rounds=2", {"autodata.generate", "autodata.training.grpo", "autodata.eval.run"}),
        ("trainer.anything=1", {"autodata.training.grpo"}),  # passed on to TRL
        (
            "models.endpoints.kimi.server.replicas=4",
            {"autodata.generate", "autodata.training.grpo", "autodata.eval.run"},
        ),
    ],
)
def test_a_value_goes_where_its_whole_key_is_known(value, modules):
    steps = graph("recipes/tables/table6.yaml", PAPER, value)
    assert {step.module for step in steps if value in step.arguments} == modules


def test_an_ingested_corpus_is_read_as_it_is(tmp_path):
    ingest(tmp_path / "corpus")
    steps = graph("recipes/tables/table1.yaml", PAPER, f"corpus={tmp_path / 'corpus'}")
    assert steps[0].recipe.documents.path == str(tmp_path / "corpus")
    assert not [step for step in steps if step.module == "autodata.corpora.ingest"]


@pytest.mark.parametrize("key", ["corpus", "documents.path"])
@pytest.mark.parametrize("name", ["mine", "ingest/s2orc"])  # the second is also made by a recipe
def test_a_corpus_that_the_user_names_stays_where_it_is(tmp_path, monkeypatch, key, name):
    (tmp_path / "recipes").symlink_to(REPO / "recipes")
    monkeypatch.chdir(tmp_path)
    corpus = f"runs/{name}"
    ingest(Path(corpus))
    steps = graph("recipes/tables/table1.yaml", PAPER, f"{key}={corpus}", "runs=/big/disk")
    assert {s.recipe.documents.path for s in steps if s.module == "autodata.generate"} == {corpus}
    assert not [step for step in steps if step.module == "autodata.corpora.ingest"]


def test_an_ingest_that_is_not_finished_is_no_corpus(tmp_path):
    ingest(tmp_path, is_finished=False)
    with pytest.raises(WrongCall, match="not finished"):
        graph("recipes/tables/table1.yaml", PAPER, f"corpus={tmp_path}")


def test_one_corpus_cannot_stand_in_for_those_of_several_domains(tmp_path):
    keys = "write corpus.cs=FOLDER corpus.legal=FOLDER corpus.science=FOLDER$"
    ingest(tmp_path / "corpus")
    for folder in (write_corpus(tmp_path / "files"), str(tmp_path / "corpus")):
        assert graph("recipes/tables/table7.yaml", PAPER, f"corpus={folder}")
        with pytest.raises(WrongCall, match=f"would stand in for .*; {keys}"):
            graph("recipes/tables", PAPER, f"corpus={folder}")


def test_every_domain_has_a_corpus_of_its_own_if_it_is_named(tmp_path):
    (tmp_path / "tables").mkdir()
    for name in ("table3", "table7", "table11"):  # one of each domain
        shutil.copy(f"recipes/tables/{name}.yaml", tmp_path / "tables")
    tables = str(tmp_path / "tables")
    ingest(tmp_path / "opinions")
    papers, problems = write_corpus(tmp_path / "papers"), write_corpus(tmp_path / "problems", "part.parquet")
    folders = papers, str(tmp_path / "opinions"), problems
    values = [f"corpus.{name}={folder}" for name, folder in zip(("cs", "legal", "science"), folders, strict=True)]
    steps = graph(tables, PAPER, *values)
    require_order(steps)
    ingested = {s.target: s.recipe.path for s in steps if s.module == "autodata.corpora.ingest"}
    assert ingested == {"runs/ingest/s2orc": folders[0], "runs/ingest/principia": folders[2]}
    readers = [s.recipe for s in steps if s.module in ("autodata.generate", "autodata.meta.optimize")]
    read = {recipe.domain.name: recipe.documents.path for recipe in readers}
    assert read == {"cs": "runs/ingest/s2orc", "legal": folders[1], "science": "runs/ingest/principia"}
    # The others keep the corpora that their recipes name.
    steps = graph(tables, PAPER, values[0])
    paths = {s.recipe.path for s in steps if s.module == "autodata.corpora.ingest"}
    assert paths == {folders[0], "corpora/pile-of-law", "corpora/principia"}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["corpus.physics=recipes"], "corpus of physics; the domains of this table: cs$"),
        (["corpus.legal=recipes"], "corpus of legal; the domains of this table: cs$"),
        (["corpus.cs=/nowhere"], "corpus.cs=/nowhere: no such folder"),
        (["corpus.cs="], "corpus.cs=: name a folder"),
        (["corpus.=recipes"], "corpus.=recipes: write runs=FOLDER, corpus=FOLDER or corpus.DOMAIN=FOLDER"),
        (["runs.cs=recipes"], "runs.cs=recipes: write runs=FOLDER"),
        (["corpus.cs.path=recipes"], "corpus of cs.path"),
        (["corpus=recipes", "corpus.cs=recipes"], "for each domain, or corpus alone"),
    ],
)
def test_a_corpus_of_no_domain_of_the_table_is_refused(values, problem):
    with pytest.raises(WrongCall, match=problem):
        graph("recipes/tables/table1.yaml", PAPER, *values)


@pytest.mark.parametrize("name", ["", "README.md", "notes.txt"])
def test_a_corpus_without_a_file_of_its_kind_is_refused(tmp_path, name):
    if name:
        write_corpus(tmp_path, name)
        with pytest.raises(WrongCall, match="no such folder"):
            graph("recipes/tables/table1.yaml", PAPER, f"corpus={tmp_path / name}")
    with pytest.raises(WrongCall, match=r"no file for source=s2orc; it needs .jsonl.gz .*\.parquet files"):
        graph("recipes/tables/table1.yaml", PAPER, f"corpus={tmp_path}")


def test_the_run_of_something_else_than_an_ingest_is_no_corpus(tmp_path):
    with Run(str(tmp_path), "generate", Settings(), {}) as run:
        run.start()
        run.finish([])
    for key in ("corpus", "corpus.cs"):
        with pytest.raises(WrongCall, match="the run of a generate; name the folder of the corpus files"):
            graph("recipes/tables/table1.yaml", PAPER, f"{key}={tmp_path}")


def test_the_small_scale_has_one_domain():
    steps = graph("recipes/tables/table1.yaml", "corpus.skills=recipes/cs/documents", scale="small")
    assert steps[0].recipe.path == "recipes/cs/documents"
    with pytest.raises(WrongCall, match=r"the domains of this table: skills$"):
        graph("recipes/tables/table1.yaml", "corpus.cs=recipes/cs/documents", scale="small")


@pytest.mark.parametrize("limit", ["documents.limit=0", "prbench.limit=0", "documents.limit=-1"])
def test_a_limit_of_nothing_is_refused(limit):
    with pytest.raises(RecipeError, match=f"{limit}: write a number above 0"):
        graph("recipes/tables/table4.yaml", PAPER, limit)


@pytest.mark.parametrize("speed", ["kimi=1", "kimi=1,1,x", "kimi=nan,1,1", "nobody=1,1,1", "=1,1,1"])
def test_a_speed_that_cannot_be_used_is_refused(speed):
    with pytest.raises(WrongCall, match="--speed"):
        forecast(graph("recipes/tables/table1.yaml", PAPER), Evidence([speed]))


def test_a_forecast_says_what_it_assumes_of_steps_that_a_limit_of_documents_does_not_shorten():
    steps = graph("recipes/tables/table2.yaml", PAPER, "documents.limit=100")
    costs = forecast([find(steps, "autodata.training.grpo"), find(steps, "autodata.eval.run")])
    assert [cost.source for cost in costs.values()] == [
        "priors.yaml, unmeasured, at trainer.max_steps=240; 200 watched problems assumed",
        "priors.yaml, unmeasured; 200 problems assumed",
    ]


def test_data_that_the_user_names_and_that_is_missing_is_listed():
    steps = graph("recipes/tables/table2.yaml", PAPER, "path=/nowhere", "papers=/none")
    assert {*needs.list_missing_data(steps)} == {"/nowhere", "/none"}
    assert list(needs.list_missing_data(graph("recipes/tables/table1.yaml", PAPER, "documents.path=/nowhere"))) == [
        "/nowhere"
    ]


def test_all_runs_move_together():
    steps = {step.name: step for step in graph("recipes/tables/table2.yaml", PAPER, "runs=/big/disk")}
    assert all(name.partition(" ")[2].startswith("/big/disk/") for name in steps)
    evaluation, table = steps["eval /big/disk/cs/eval_cot"].recipe, list(steps.values())[-1]
    assert evaluation.evaluated.weights == "/big/disk/cs/grpo_cot/model_at_200"
    assert evaluation.dataset == "/big/disk/cs/dataset"
    rows = next(text for text in table.arguments if text.startswith("rows="))
    assert json.loads(rows.removeprefix("rows="))[0]["run"] == "/big/disk/cs/eval_base"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["samples=1"], "the first argument must be a table's recipe"),
        (["recipes/tables/table2.yaml", "models"], "neither a .yaml file nor"),
        (["recipes/tables/table2.yaml", "run=x"], "runs=FOLDER moves all runs"),
        (["recipes/tables/table2.yaml", "runs="], "name a folder"),
        (["recipes/tables/table2.yaml", PAPER, "nonsense=1"], "nonsense=1: no step has a key of this name"),
        (["recipes/tables/table3.yaml", PAPER, "recipes/training/one_gpu.yaml"], "keys of this file; leave it out"),
        (["recipes/demo/table2.yaml", "proposals=4"], "only arm=cot has this key"),
        (["recipes/demo/table2.yaml", "corpus=recipes"], "no step of this table reads a corpus"),
        (["recipes/tables/table2.yaml", PAPER, "corpus=/nowhere"], "corpus=/nowhere: no such folder"),
        (["recipes/tables/table99.yaml"], "no such file"),
        (["recipes/tables/table2.yaml", "recipes/models/none.yaml"], "no such file"),
    ],
)
def test_a_wrong_request_names_what_to_change(arguments, problem):
    with pytest.raises(WrongCall, match=problem):
        graph(*arguments)


def test_recipes_that_need_one_another_are_an_error(tmp_path):
    (tmp_path / "table.yaml").write_text(
        "title: t\nshape: held-out\nruns: runs/t\noutput: runs/t.md\nrows: [{label: a, run: runs/a, command: c}]\n"
    )
    data = "arms: {cot: %s}\ndecontaminate: []\n"
    (tmp_path / "dataset_a.yaml").write_text("run: runs/a\n" + data % "runs/b")
    (tmp_path / "picture.yaml").write_bytes(bytes(range(256)))  # files beside a table may be anything
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    assert graph(str(tmp_path / "table.yaml"))[0].after == ()  # nobody makes runs/b, so it must be there already
    (tmp_path / "dataset_b.yaml").write_text("run: runs/b\n" + data % "runs/a")
    with pytest.raises(RecipeError, match="runs/a → runs/b → runs/a need one another"):
        graph(str(tmp_path / "table.yaml"))
    (tmp_path / "dataset_b.yaml").write_text("run: runs/a\n" + data % "x")
    with pytest.raises(RecipeError, match="all make it"):
        graph(str(tmp_path / "table.yaml"))


def test_what_is_finished(tmp_path):
    steps = graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    by_name = {step.name.replace(str(tmp_path), "runs"): step for step in steps}
    dataset, verified = by_name["dataset runs/cs/dataset"], by_name["verify runs/cs/dataset"].name
    mark = verify_rows(dataset).with_name(VERIFIED)
    assert {dataset.name, verified} <= find_finished(steps)
    mark.unlink()
    assert verified not in find_finished(steps)
    mark.write_text(json.dumps({EXAMPLES: "hash of an earlier one"}))
    assert verified not in find_finished(steps)


@pytest.mark.parametrize("change", [lambda file: file.write_text("fewer"), lambda file: file.unlink()])
def test_a_data_set_whose_rows_have_changed_is_neither_finished_nor_verified(tmp_path, change):
    steps = graph("recipes/tables/table1.yaml", f"runs={tmp_path}", scale="small")
    dataset = find(steps, "autodata.dataset")
    file = verify_rows(dataset)
    assert {dataset.name, find(steps, VERIFY).name} <= find_finished(steps)
    change(file)
    assert not find_finished(steps)
    with pytest.raises(RunError, match=r"examples.jsonl: gone, or changed since it was made; restore it, or remove"):
        require_same(steps)


def test_a_table_is_finished_as_long_as_its_recipe_and_its_runs_are_the_same(tmp_path):
    steps = graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    table, runs = (
        find(steps, "autodata.eval.tables"),
        [step for step in steps if step.name in find(steps, "autodata.eval.tables").after],
    )

    def is_finished(table: Step) -> bool:
        return table.name in find_finished([*steps[:-1], table])

    Path(table.target).parent.mkdir()
    Path(table.target).write_text("table")
    for run in runs:
        finish(run)
    assert not is_finished(table)  # nothing says what it was made from
    note_made(table.recipe)
    os.utime(table.target, (1, 1))
    assert is_finished(table)
    assert not is_finished(replace(table, recipe=replace(table.recipe, title="another")))
    assert not is_finished(replace(table, recipe=replace(table.recipe, rows=table.recipe.rows[:-1])))
    with Run(runs[0].target, "any", runs[0].recipe, {}) as run:
        run.finish([], repaired=True)
    assert not is_finished(table)
    note_made(table.recipe)
    assert is_finished(table)
    Path(runs[0].target, MANIFEST).unlink()
    assert not is_finished(table)


def test_a_finished_run_of_another_recipe_is_refused(tmp_path):
    steps = graph("recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}")
    finish(steps[1], arm="agentic")
    require_same(steps)
    finish(steps[2], arm="agentic")
    with pytest.raises(RunError, match="cs/cot was made from another recipe:\n  arm: 'agentic' → 'cot'\nname another"):
        require_same(steps)


def find(steps: list[Step], module: str) -> Step:
    return next(step for step in steps if step.module == module)


def test_every_finished_run_of_the_same_recipe_is_accepted(tmp_path):
    steps = graph("recipes/tables/table4.yaml", PAPER, f"runs={tmp_path}")
    for step in steps:
        if step.module not in ("autodata.verify", "autodata.eval.tables"):
            finish(step, **{"dataset": "hash of a data set", "prbench legal 0": "hash of a file"})
    require_same(steps)


def test_a_value_that_only_the_run_or_only_the_recipe_has_is_a_change(tmp_path):
    command = "recipes/tables/table4.yaml", PAPER, f"runs={tmp_path}"
    gpt5 = "recipes/legal/grader_gpt5.yaml"
    finish(find(graph(*command), "autodata.eval.run"))
    require_same(graph(*command))
    for more in (gpt5, "prbench.limit=3", "prbench.revision=abc", "models.endpoints.kimi.revision=abc"):
        with pytest.raises(RunError, match="was made from another recipe"):
            require_same(graph(*command, more))
    shutil.rmtree(tmp_path)
    finish(find(graph(*command, gpt5), "autodata.eval.run"))
    with pytest.raises(RunError, match=r"graders\.gpt5\.endpoint: 'gpt5' → None"):
        require_same(graph(*command))


def test_a_key_that_is_newer_than_a_run_has_its_default_there(tmp_path):
    steps = graph("recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}")
    finish(steps[1])
    path = Path(steps[1].target) / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["inputs"]["documents.per_group"], manifest["inputs"]["domain.count_refusals"]
    path.write_text(json.dumps(manifest))
    require_same(steps)


class Queue:
    """Stands in for Slurm: it takes jobs, and a test lets them end."""

    def __init__(self, monkeypatch):
        self.jobs: dict[str, QueuedJob] = {}
        self.commands: dict[str, list[str]] = {}
        self.ending: dict[str, str] = {}
        monkeypatch.setattr(jobs, "find_ending", lambda: [QueuedJob(i, n, 0.0) for n, i in self.ending.items()])
        monkeypatch.setattr(jobs, "find_all", lambda: [*self.jobs.values()])
        monkeypatch.setattr(jobs, "submit", self.submit)
        monkeypatch.setattr(jobs, "cancel", lambda ids: [self.jobs.pop(id) for id in ids])

    def submit(self, command: list[str]) -> str:
        id = str(len(self.commands) + 1)
        self.commands[id] = list(command)
        name = next(word for word in command if word.startswith("--job-name=")).partition("=")[2]
        self.jobs[id] = QueuedJob(id, name, 0.0)
        return id


def record_of(folder: Path, steps: list[Step]) -> Record:
    return make_record(folder, steps, {step.name: Cost("x") for step in steps}, find_finished(steps))


def test_jobs_wait_for_those_before_them_and_the_same_command_resumes(tmp_path, monkeypatch, capsys):
    queue, folder = Queue(monkeypatch), tmp_path / "reproduce"
    steps = graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    submit_all(steps, record_of(folder, steps))
    assert len(queue.commands) == len(steps)
    assert "--dependency=afterok:2:3" in queue.commands["4"]
    assert all("--kill-on-invalid-dep=yes" in command for id, command in queue.commands.items() if id != "1")
    assert not [word for word in queue.commands["1"] if word.startswith("--dependency")]
    assert [entry.job for entry in read_record(folder).steps.values()] == list(queue.commands)

    submit_all(steps, record_of(folder, steps))  # nothing has changed: every job is kept
    assert len(queue.commands) == len(steps)

    finish(steps[0])
    for id in ("1", "2"):  # the ingest has finished, an arm has died; the jobs after it have not been cancelled yet
        del queue.jobs[id]
    submit_all(steps, record_of(folder, steps))
    assert len(queue.jobs) == len(steps) - 1
    arm, dataset = queue.commands["12"], queue.commands["13"]
    assert "recipes/cs/generate.yaml" in arm
    assert not [word for word in arm if word.startswith("--dependency")]
    assert "--dependency=afterok:12:3" in dataset  # the other arm's job was kept, the data set's was replaced
    assert "kept job 3" in capsys.readouterr().out


def test_the_same_command_keeps_the_jobs_after_a_check_that_has_passed(tmp_path, monkeypatch):
    queue, folder = Queue(monkeypatch), tmp_path / "reproduce"
    steps = graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    submit_all(steps, record_of(folder, steps))
    for step in steps[:3]:
        finish(step)
    verify_rows(steps[3])
    for id in map(str, range(1, 6)):  # up to the check, everything has ended; the trainings run
        del queue.jobs[id]
    submit_all(steps, record_of(folder, steps))
    assert len(queue.commands) == len(steps)


def test_a_job_waits_for_the_processes_of_the_one_before_it_that_was_cancelled(tmp_path, monkeypatch):
    queue, folder = Queue(monkeypatch), tmp_path / "reproduce"
    steps = graph("recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}")
    queue.ending = {name_job((steps[0],)): "98", name_job((steps[1],)): "99"}
    submit_all(steps, record_of(folder, steps))
    assert "--dependency=afterany:98" in queue.commands["1"]
    assert "--dependency=afterok:1,afterany:99" in queue.commands["2"]
    assert "--dependency=afterok:1" in queue.commands["3"]


def test_a_step_whose_servers_have_no_known_speed_has_tokens_and_no_time():
    costs = forecast(graph("recipes/demo", "models.endpoints.small.model=other"))
    cost = costs["generate runs/demo/agentic"]
    assert cost.tokens
    assert cost.seconds is cost.gpu_hours is None
    assert "the speed of small is not known" in cost.source


@pytest.mark.slow
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_step_of_a_small_table_has_a_forecast_of_time_and_says_what_it_assumes(path):
    costs = forecast(graph(str(path), scale="small"))
    assert all(cost.seconds and cost.assumed for cost in costs.values())
    steps = {name.partition(" ")[0]: cost.source for name, cost in costs.items()}
    assert "; 24 documents assumed" in steps.get("generate", "; 24 documents assumed")
    assert "; 20 questions assumed" in steps.get("question_types", "; 20 questions assumed")


def test_a_finished_step_says_what_it_took_and_its_numbers_are_not_marked(tmp_path):
    steps = graph("recipes/tables/table1.yaml", f"runs={tmp_path}", scale="small")
    finish(steps[1])
    silent = forecast(steps[:2], Evidence(finished=steps[1:2]))[steps[1].name]
    assert silent == Cost("its run does not say what it took")  # a run that does not say it
    path = Path(steps[1].target) / MANIFEST
    ledger = {"challenger": {"calls": 3, "prompt_tokens": 20, "completion_tokens": 5}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"elapsed_s": 90.5, "ledger": ledger}))
    costs = forecast(steps[:2], Evidence(finished=steps[1:2]))
    assert costs[steps[1].name] == Cost("measured: this run", 0, 90.5, 25.0)
    text = show.write_costs(make_record(tmp_path, steps[:2], costs, {steps[1].name}), Site())
    assert "| 25 | 1 min 30 s | measured: this run |" in text
    assert "| 1 min 00 s* | priors.yaml, unmeasured |" in text
    check, training = (
        find(steps, VERIFY),
        find(graph("recipes/tables/table2.yaml", scale="small"), "autodata.training.grpo"),
    )
    assert forecast([check], Evidence(finished=[check]))[check.name] == Cost("its run does not say what it took")
    training = replace(training, target=steps[1].target)
    assert measure(training).source == "measured: this run, which does not count the trained model's tokens"


def test_questions_of_a_data_set_that_is_not_here_are_as_many_as_it_is_said_to_have():
    assert count_arm("nowhere", "agentic", "skills", 1000) == 20
    assert count_arm("nowhere", "agentic", "skills", 3) == 3
    assert count_arm("nowhere", "agentic", "science", 1000) == 1000
    assert count_arm("nowhere", "agentic", "no such domain", 1000) == 1000


def test_one_folder_of_runs_has_one_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(REPO / "recipes")
    table = "recipes/tables/table1.yaml"
    for name in ("mine", "mine/", "./mine", "a/../mine", str(tmp_path / "mine")):
        assert read_request([table, f"runs={name}"], "paper").runs == "mine"
    assert read_request([table, "runs=./runs"], "paper") == read_request([table], "paper")
    for name in ("../mine", f"{tmp_path.parent}/mine/"):
        assert read_request([table, f"runs={name}"], "paper").runs == str(tmp_path.parent / "mine")


def test_steps_are_alike_if_they_train_or_ask_the_same_way():
    steps = {s.name: s.recipe for s in graph("recipes/tables/table2.yaml", scale="small")}
    base, cot, agentic = (steps[f"eval runs/small/eval_{name}"] for name in ("base", "cot", "agentic"))
    assert is_alike(base, cot) and is_alike(cot, agentic)
    assert is_alike(steps["grpo runs/small/grpo"], steps["grpo runs/small/grpo_cot"])
    assert not is_alike(base, steps["grpo runs/small/grpo"])
    assert not is_alike(base, replace(cot, evaluated=replace(cot.evaluated, endpoint="other")))
    assert not is_alike(steps["generate runs/small/cot"], steps["generate runs/small/agentic"])


def test_assumed_numbers_are_marked_in_sums_and_in_the_status_as_well(tmp_path):
    request = read_request(["recipes/tables/table1.yaml", f"runs={tmp_path}"], "small")
    steps = build(request)
    for is_assumed in (True, False):
        costs = {step.name: Cost("x", 8, 3600.0, 5.0, 2.0, assumed=is_assumed) for step in steps}
        record, mark = make_record(tmp_path, steps, costs, set()), "*" if is_assumed else ""
        text = show.describe(request, steps, record, Room())
        count = len(steps)
        assert f"To do in all: {8 * count}.0{mark} GPU-hours, {5 * count}{mark} tokens, 5 h 00 min{mark} on" in text
        assert f"on at most 2{mark} nodes at a time" in text
        assert f"Disk: {2 * count}{mark} GB" in text
        record.write()
        status = follow.write_standing(*follow.look(tmp_path))
        assert f"| 1 h 00 min{mark} |" in status
        assert f"{mark}, {8 * count}.0{mark} GPU-hours." in status
        assert ("* assumed: it rests on" in text) == ("* assumed: it rests on" in status) == is_assumed
    zero = Cost("x", 0, 60.0, 0.0, assumed=True)
    text = show.write_costs(make_record(tmp_path, steps, dict.fromkeys(costs, zero), set()), Site())
    assert "| 0.0 | 0 | 1 min 00 s* |" in text  # a step without a GPU has no GPU-hours, whatever is assumed


def test_two_tables_share_the_jobs_of_their_runs(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    for name in ("table1", "table2", "figure3"):
        steps = graph(f"recipes/tables/{name}.yaml", PAPER, f"runs={tmp_path}")
        submit_all(steps, record_of(tmp_path / name, steps))
    names = [job.name for job in queue.jobs.values()]
    assert len(names) == len({*names}) == 6 + 6 + 1


def test_the_script_of_a_job_and_how_a_training_is_launched(tmp_path, monkeypatch):
    monkeypatch.delenv("AUTODATA_ACCELERATE", raising=False)
    steps = graph("recipes/tables/table11.yaml", "recipes/models/one_node.yaml")
    words = {step.name.partition(" ")[0]: make_command((step,), [], tmp_path)[1:] for step in steps}
    scripts = {name: command[0].removeprefix("slurm/") for name, command in words.items()}
    assert scripts["ingest"] == "ingest.sh"
    assert scripts["generate"] == "generate.sh"
    assert scripts["question_types"] == scripts["dataset"] == scripts["verify"] == scripts["tables"] == "run.sh"
    assert words["question_types"][4] == "autodata.eval.question_types"
    sharing = graph("recipes/tables/table2.yaml", "recipes/models/one_gpu.yaml")
    words = {step.name.partition(" ")[0]: make_command((step,), [], tmp_path)[1:] for step in sharing}
    for name, module in (
        ("generate", "autodata.generate"),
        ("eval", "autodata.eval.run"),
    ):  # their servers share a GPU
        assert (words[name][0], words[name][4]) == ("slurm/run.sh", module)
        write_job(Call(words[name][0], (), tuple(words[name][4:])), Site())
    training = next(s for s in graph("recipes/tables/figure3.yaml", PAPER) if s.module == "autodata.training.grpo")
    assert make_command((training,), [], tmp_path)[:2] == ["bash", "slurm/train.sh"]
    lora = ["recipes/models/one_gpu.yaml", "recipes/training/one_gpu.yaml"]
    training = next(s for s in graph("recipes/tables/figure3.yaml", *lora) if s.module == "autodata.training.grpo")
    assert make_command((training,), [], tmp_path)[1] == "AUTODATA_ACCELERATE=recipes/accelerate/one_gpu.yaml"


def test_the_longest_chain_and_the_most_nodes():
    def step(name: str, *after: str) -> StepRecord:
        return StepRecord("m", name, tuple(f"m {other}" for other in after), Cost("x"))

    steps = [step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c")]
    costs = {"m a": Cost("x", 8, 10.0), "m b": Cost("x", 8, 5.0), "m c": Cost("x", 9, 20.0), "m d": Cost("x")}
    times = {"m a": (0.0, 10.0), "m b": (10.0, 15.0), "m c": (10.0, 30.0), "m d": (30.0, 30.0)}
    assert schedule(steps, costs, Site()) == schedule(steps, costs, Site(), 3) == times
    assert schedule(steps[1:], costs, Site())["m c"] == (0.0, 20.0)  # a finished step takes no time any more
    assert (count_most_nodes(times, costs, Site()), count_most_nodes({}, {}, Site())) == (3, 0)
    times |= {"m c": (15.0, 35.0), "m d": (35.0, 35.0)}
    assert schedule(steps, costs, Site(), 2) == schedule(steps, costs, Site(), 1) == times  # too large, it runs alone
    costs["m d"] = Cost("x", 8, 5.0)
    free = [*steps[1:3], replace(steps[3], after=())]
    assert schedule(free, costs, Site(), 2)["m d"] == (0.0, 5.0)  # beside `b`, before `c`


def test_what_must_be_there_beforehand(tmp_path, monkeypatch):
    steps = graph("recipes/tables/table4.yaml", PAPER)
    assert needs.list_weights(steps) == {
        "Qwen/Qwen3.5-397B-A17B-FP8": 400.0,
        "Qwen/Qwen3.5-4B": 10.0,
        "moonshotai/Kimi-K2.6": 595.0,
    }
    assert {*needs.list_missing_data(steps)} >= {"corpora/prbench", "corpora/pile-of-law"}
    monkeypatch.setattr(needs, "REPO", tmp_path)
    assert "slurm/ are in a checkout only" in needs.find_site_problems({})[0]
    (tmp_path / "slurm").mkdir()
    assert "copy slurm/site.env.example" in needs.find_site_problems({})[0]
    (tmp_path / "slurm/site.env").touch()
    assert needs.find_site_problems({"SBATCH_PARTITION": "p", "SBATCH_ACCOUNT": "a"}) == []
    problems = needs.find_site_problems({"SBATCH_ACCOUNT": "a", "AUTODATA_PYTHON": "none/python"})
    assert [problem.partition(" ")[0] for problem in problems] == ["SBATCH_PARTITION", "AUTODATA_PYTHON=none/python:"]


def test_keys_of_providers_that_are_not_set_are_named():
    steps = graph("recipes/tables/table4.yaml", PAPER, "recipes/legal/grader_gpt5.yaml")
    missing = needs.list_missing_keys(steps, {})
    assert list(missing) == ["OPENROUTER_API_KEY"]
    assert {name.partition(" ")[0] for name in missing["OPENROUTER_API_KEY"]} == {"eval"}
    assert needs.list_missing_keys(steps, {"OPENROUTER_API_KEY": "x"}) == {}
    assert needs.list_missing_keys(graph("recipes/tables/table4.yaml", PAPER), {}) == {}


def test_a_models_file_is_not_read_at_small_scale_and_the_dry_run_says_so():
    request = read_request(["recipes/tables/table1.yaml", PAPER], "small")
    assert request.files == ()
    assert request.explain_ignored() == f"--scale small has models of its own and does not read {PAPER}."
    assert read_request(["recipes/tables/table1.yaml", PAPER], "paper").ignored == ()


def test_steps_without_models_have_a_forecast_and_a_corpus_that_is_here_is_measured(tmp_path):
    steps = graph("recipes/tables/table1.yaml", PAPER)
    costs = forecast([step for step in steps if step.module != "autodata.generate"])
    assert all(cost.seconds and cost.assumed for cost in costs.values())
    assert costs["ingest runs/ingest/s2orc"].disk_gb == 225
    assert costs.pop("ingest runs/ingest/s2orc").source == "priors.yaml, unmeasured; 225 GB of corpus assumed"
    assert {cost.source for cost in costs.values()} == {"priors.yaml, unmeasured"}
    (tmp_path / "papers.jsonl").write_bytes(b"x" * 1_000_000)
    here = forecast(graph("recipes/tables/table1.yaml", PAPER, f"corpus={tmp_path}")[:1])
    (cost,) = here.values()
    assert (cost.disk_gb, cost.source) == (0.001, "priors.yaml, unmeasured")


def test_without_the_speed_of_a_server_a_step_has_tokens_and_no_time():
    steps = graph("recipes/tables/table11.yaml", PAPER, "models.endpoints.kimi.model=unknown")
    (cost,) = forecast([step for step in steps if step.module == "autodata.eval.question_types"]).values()
    assert (cost.seconds, cost.tokens) == (None, 6_000_000)
    assert "the speed of kimi is not known; give it with --speed kimi=" in cost.source
    assert "; 1,000 questions assumed; " in cost.source
    record = Record(Path("x"), {"question_types q": StepRecord("autodata.eval.question_types", "q", (), cost)})
    assert "| 8 | – | 6,000,000* | – |" in show.write_costs(record, Site())


def test_a_dry_run_of_local_steps_shows_the_commands_of_this_machine(tmp_path):
    request = read_request(["recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}"], "small")
    steps = build(request)
    finish(steps[0])
    costs = {step.name: Cost("x", 0, 3600.0, 5.0) for step in steps}
    text = show.describe_here(request, steps, make_record(tmp_path, steps, costs, find_finished(steps)), {})
    assert f"does not read {PAPER}." in text
    assert "0.0 GPU-hours, 25 tokens, 5 h 00 min one step after the other. The start of servers" in text
    commands = text.rpartition("share them:\n")[2].splitlines()
    assert [shlex.split(line)[1:3] for line in commands] == [["-m", step.module] for step in steps[1:]]
    assert "site.env" not in text and "--parsable" not in text


def test_status_says_what_waits_for_what(tmp_path, monkeypatch, capsys):
    steps = graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    folder = tmp_path / "reproduce"
    queue = Queue(monkeypatch)
    submit_all(steps, record_of(folder, steps))
    finish(steps[0])
    waits = {id: ("PENDING", "Dependency") for id in queue.jobs if int(id) > 3}
    monkeypatch.setattr(jobs, "list_reasons", lambda: waits | {"2": ("RUNNING", "None")})
    _, standings = follow.look(folder)
    states = {standing.name.replace(str(tmp_path), "runs"): standing for standing in standings}
    assert states["ingest runs/ingest/s2orc"].state == "finished"
    assert states["generate runs/cs/agentic"].state == "running"
    died = states["generate runs/cs/cot"]
    assert (died.state, "the same command submits it again" in died.detail) == ("died", True)
    assert states["dataset runs/cs/dataset"].state == "waiting"
    assert states["dataset runs/cs/dataset"].detail.startswith("for generate")
    monkeypatch.setattr(sys, "argv", ["status", str(folder)])
    status.main()
    out = capsys.readouterr().out
    assert "Died: generate" in out
    assert "No step that is left has a forecast." in out


def test_status_tells_a_verification_from_the_data_set_that_it_reads(tmp_path, monkeypatch):
    """While the data set is made, its folder is held; the verification waits all the same."""
    steps = graph("recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}")
    queue = Queue(monkeypatch)
    submit_all(steps, record_of(tmp_path / "reproduce", steps))
    for step in steps[:3]:
        finish(step)
    states = dict.fromkeys(queue.jobs, ("PENDING", "Dependency"))
    monkeypatch.setattr(jobs, "list_reasons", lambda: states | {"4": ("RUNNING", "None")})
    (tmp_path / "reproduce" / "job-4.log").touch()
    with Run(steps[3].target, "dataset", Settings(), {}):
        standings = follow.look(tmp_path / "reproduce")[1][3:]
    assert [(s.state, s.detail.replace(str(tmp_path), "")) for s in standings] == [
        ("running", "no progress yet: it starts, or waits for its servers; read /reproduce/job-4.log"),
        ("waiting", "for dataset /cs/dataset"),
        ("waiting", "for verify /cs/dataset"),
    ]


@pytest.mark.parametrize(
    ("state", "reason", "detail"),
    [
        ("PENDING", "Resources", "in Slurm's queue: Resources"),
        ("CONFIGURING", "None", "Slurm has it as configuring"),
        ("SUSPENDED", "None", "Slurm has it as suspended"),
    ],
)
def test_status_says_why_a_job_that_needs_nothing_more_does_not_run(tmp_path, monkeypatch, state, reason, detail):
    steps = graph("recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}")
    Queue(monkeypatch)
    submit_all(steps, record_of(tmp_path / "reproduce", steps))
    monkeypatch.setattr(jobs, "list_reasons", lambda: {"1": (state, reason)})
    assert follow.look(tmp_path / "reproduce")[1][0].detail == detail


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / STEPS).write_text('[{"module": 1}]')
    with pytest.raises(RunError, match=r"steps\.json: damaged"):
        read_record(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("table", golden_dry_runs.TABLES)
def test_the_dry_run_of_a_table(table):
    assert golden_dry_runs.describe(table) == (golden_dry_runs.FOLDER / f"{table}.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_script_prints_its_help_without_slurm():
    env = {**os.environ, "PATH": "/usr/bin:/bin", "AUTODATA_PYTHON": sys.executable}
    done = subprocess.run(["bash", "slurm/reproduce.sh", "--help"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "--scale" in done.stdout
