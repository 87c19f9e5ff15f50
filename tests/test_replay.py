"""Tests packs: runs made with a server are made again without one, in another place, and give the same bytes."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autodata import dataset, generate, publish
from autodata.config import REPO, load
from autodata.eval import run as evaluation
from autodata.eval.tables import write as tables
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.replay import replay as command
from autodata.replay.make import _find_hindrance
from autodata.replay.move import Source
from autodata.replay.pack import Pack, PackError, Step, compress
from autodata.replay.play import list_outputs
from autodata.replay.register import register
from autodata.replay.replay import replay
from autodata.replay.unpack import unpack
from tests.helpers.commands import find_failure
from tests.helpers.fake_server import fake_server, play_skills
from tests.helpers.packs import write_pack
from tests.test_generate import arguments, write_documents

slow = pytest.mark.slow  # every step is a process of its own
LICENCE = "sources={'*': mit}"


def call(main, *words: object) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
        if failure := find_failure(main):
            raise AssertionError(failure)


def make_runs(folder: Path, *more: str) -> Path:
    """Make two arms, one of them with prompts of its own, their data set and an evaluation; return their folder."""
    write_documents(folder / "docs", 8)
    prompts = shutil.copytree(REPO / "autodata/domains/skills/prompts", folder / "my prompts [2]")
    (prompts / "solver.j2").write_text((prompts / "solver.j2").read_text().replace("sentence.", "sentence, please."))
    with fake_server(play_skills) as server:
        for arm, words in (("agentic", (f"domain.prompts={prompts}",)), ("cot", ("arm=cot", "proposals=4"))):
            call(generate.main, *arguments(folder, server.url, *words, run=f"runs/{arm}"))
        runs = folder / "runs"
        arms = [f"arms.{arm}={runs / arm}" for arm in ("agentic", "cot")]
        call(dataset.main, "recipes/demo/dataset.yaml", f"run={runs}/data", *arms, "test_fraction=0.5", *more)
        models = [word for word in arguments(folder, server.url) if word.startswith("models.")]
        evaluated = ["evaluated={weights: null, endpoint: small}", "label=fake", "samples=2"]
        words = ["recipes/demo/eval_base.yaml", f"run={runs}/eval", f"dataset={runs}/data", *evaluated, *models]
        call(evaluation.main, *words)
    return runs


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """Runs, and a pack of them with a table."""
    folder = tmp_path_factory.mktemp("made")
    runs = make_runs(folder, LICENCE)
    table = folder / "table2.yaml"
    row = {"label": "fake", "run": "${runs}/eval", "command": "python -m autodata.eval.run"}
    table.write_text(json.dumps({"title": "T", "shape": "held-out", "output": "${runs}/t.md", "rows": [row]}))
    call(tables.main, table, f"runs={runs}")
    call(publish.main, runs, "--pack", folder / "demo.zip", "--tables", table)
    return runs, folder / "demo.zip"


@slow
def test_every_run_is_made_again_equal_to_the_byte_without_a_server(made, tmp_path, capsys):
    runs, pack = made
    call(command.main, pack, tmp_path / "again")
    out = capsys.readouterr().out
    assert out.count("equal file") == 5
    assert "DIFFERENT" not in out
    for name in ("agentic/trajectories.jsonl", "cot/trajectories.jsonl", "data/statistics.json", "eval/results.json",
                 "eval/answers.jsonl"):  # fmt: skip
        assert (tmp_path / "again" / name).read_bytes() == (runs / name).read_bytes(), name
    examples = [(folder / "data/examples.jsonl").read_text() for folder in (tmp_path / "again", runs)]
    here, there = ([json.loads(line) | {"provenance": 0} for line in text.splitlines()] for text in examples)
    assert here == there != []
    assert (tmp_path / "again/table2.md").read_text() == (runs / "t.md").read_text()


def edit(pack: Path, target: Path, **changes) -> Path:
    """Copy a pack; each file of `changes` (its name without ending) is edited by a function of its text."""
    with zipfile.ZipFile(pack) as source, zipfile.ZipFile(target, "w") as edited:
        for name in source.namelist():
            change = changes.get(Path(name).stem, lambda text: text)
            edited.writestr(name, change(source.read(name).decode()))
    return target


@slow
def test_a_changed_reply_comes_out_as_a_difference(made, tmp_path, capsys):
    _, pack = made
    wrong = edit(
        pack,
        tmp_path / "wrong.zip",
        eval=lambda text: text.replace('"finish_reason": "stop"', '"finish_reason": "length"'),
    )
    with pytest.raises(PackError, match=r"\d files? came out differently"):
        replay(wrong, tmp_path / "again")
    assert "DIFFERENT: eval/" in capsys.readouterr().out


@slow
def test_a_missing_reply_is_named_and_nobody_is_asked(made, tmp_path):
    _, pack = made
    fewer = edit(pack, tmp_path / "fewer.zip", agentic=lambda text: "\n".join(text.splitlines()[:-3]) + "\n")
    with pytest.raises(PackError, match=r"no reply to the \w+'s request [0-9a-f]{12}.*nothing was asked"):
        replay(fewer, tmp_path / "again")


@slow
def test_documents_of_unknown_licence_stay_at_home(tmp_path, capsys):
    runs = make_runs(tmp_path)
    call(publish.main, runs, "--pack", tmp_path / "p.zip")
    with pytest.raises(PackError, match="names these documents but does not hold them; put them there"):
        replay(tmp_path / "p.zip", tmp_path / "again")
    documents = tmp_path / "again/documents/0_docs"
    documents.parent.mkdir()
    write_documents(documents, 7)
    with pytest.raises(PackError, match="these are not the documents"):
        replay(tmp_path / "p.zip", tmp_path / "again")
    write_documents(documents, 8)
    replay(tmp_path / "p.zip", tmp_path / "again")


def test_a_folder_with_something_else_is_refused(tmp_path):
    pack = write_pack(tmp_path / "p.zip")
    assert unpack(pack, tmp_path / "again").steps == ()
    assert unpack(pack, tmp_path / "again").steps == (), "the same pack may go on"
    with pytest.raises(PackError, match="holds something else; name a new folder"):
        unpack(write_pack(tmp_path / "q.zip", git_commit="other"), tmp_path / "again")
    for broken in (b"", b"no zip", pack.read_bytes()[:-30]):
        (tmp_path / "b.zip").write_bytes(broken)
        with pytest.raises(PackError, match=r"b\.zip: not a pack"):
            unpack(tmp_path / "b.zip", tmp_path / "new")


def test_equal_files_make_an_equal_pack(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("a")
        compress(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_row_of_the_results_names_what_a_reader_needs(tmp_path):
    """An edited row of the same pack takes its place; other rows stay."""
    runs = tmp_path / "runs"
    write_evaluation_run(runs / "eval")
    for title, name, mark in (("first", "a.zip", ""), ("other", "b.zip", "-dirty"), ("again | better", "a.zip", "")):
        pack = Pack(1, "c" * 40 + mark, (), {})
        register(tmp_path / "RUNS.md", title, "1 GPU", runs, (tmp_path / "packs" / name, pack))
    rows = [line for line in (tmp_path / "RUNS.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0] for row in rows] == ["| again \\| better", "| other"]
    commits = [row.split(" | ")[1] for row in rows]
    assert commits == ["c" * 12, "c" * 12 + "-dirty"], "a changed checkout is no commit"
    assert "1 min 30 s | 110 | –" in rows[1]
    assert "base, cot_test: 0.250 [0.100, 0.400] n=9 | [a.zip](packs/a.zip)" in rows[0]


def write_evaluation_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    cost = {"calls": 3, "prompt_tokens": 100, "completion_tokens": 10}
    manifest = {"finished": "now", "label": "base", "inputs": {"kind": "eval"}, "elapsed_s": 90.0}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"ledger": {"weak_solver": cost}}))
    estimate = {"value": 0.25, "low": 0.1, "high": 0.4, "documents": 9}
    (folder / "results.json").write_text(json.dumps({"cot_test": {"mean": estimate}}))


PUBLISHED = re.findall(r"\]\((docs/packs/[^)]+)\)", (REPO / "RUNS.md").read_text())


BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "vllm", "transformers", "trl", "accelerate", "peft"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
"""


@slow
@pytest.mark.parametrize("pack", PUBLISHED)
def test_every_published_result_replays_without_models_and_their_libraries(pack, tmp_path):
    """What serves and trains models is not even imported: a core installation is enough."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPO}", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub")}
    environment = os.environ | path | {"USE_TORCH": "0"}  # `datasets` would import what it sees installed
    command = [sys.executable, "-m", "autodata.replay", str(REPO / pack), str(tmp_path / "again")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "all files are equal to the published ones" in ended.stdout


def test_the_results_of_this_repository_have_rows():
    assert PUBLISHED
    assert len({*PUBLISHED}) == len(PUBLISHED)
    assert sum((REPO / pack).stat().st_size for pack in PUBLISHED) < 4_000_000


def test_the_files_of_a_table_are_not_those_of_a_longer_number(tmp_path):
    for name in ("table2.md", "table2.csv", "table2_differences.csv", "table21.md", "table12.md"):
        (tmp_path / name).touch()
    assert list_outputs(Step("table", "table2"), tmp_path) == ["table2.csv", "table2.md", "table2_differences.csv"]


@pytest.mark.parametrize(
    ("weights", "is_made_again"),
    [
        ("embedded", True),
        ("owner/name", True),
        ("{runs}/grpo/model", True),
        ("{runs}/grpo/checkpoints/checkpoint-10", True),
        ("{runs}/grpo_unfinished/model", False),
        ("/elsewhere/model", False),
    ],
)
def test_an_evaluation_of_weights_that_no_pack_can_name_is_kept_as_it_is(tmp_path, weights, is_made_again):
    weights = weights.format(runs=tmp_path)
    values = f"evaluated={{weights: {weights}, endpoint: small, sampling: {{max_tokens: 8}}}}"
    recipe = load(EvalRecipe, ["recipes/demo/eval_base.yaml", values])
    runs = {"grpo": ({}, load(GrpoRecipe, ["recipes/demo/grpo.yaml"]))}
    assert bool(_find_hindrance(Source(tmp_path, runs), "eval", recipe)) is not is_made_again


def test_runs_whose_names_differ_by_a_slash_have_files_of_their_own():
    steps = [Step("generate", name) for name in ("seed_1/agentic", "seed_1_agentic")]
    assert len({step.recipe for step in steps} | {step.replies for step in steps}) == 4
