"""Tests packs: runs made with a server are made again without one, in another place, and give the same bytes."""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from autodata import dataset, generate, publish
from autodata.replay import replay as command
from autodata.replay.pack import PackError
from autodata.replay.replay import replay
from eval import run as evaluation
from eval.tables import write as tables
from tests.helpers.commands import find_failure
from tests.helpers.fake_server import fake_server, play_skills
from tests.test_generate import arguments, write_documents

pytestmark = pytest.mark.slow  # every step is a process of its own
LICENCE = "sources={'*': mit}"


def call(main, *words: object) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
        if failure := find_failure(main):
            raise AssertionError(failure)


def make_runs(folder: Path, *more: str) -> Path:
    """Make two arms, their data set and an evaluation with a server that is gone afterwards; return their folder."""
    write_documents(folder / "docs", 8)
    with fake_server(play_skills) as server:
        for arm, words in (("agentic", ()), ("cot", ("arm=cot", "proposals=4"))):
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
    row = {"label": "fake", "run": "${runs}/eval", "command": "python -m eval.run"}
    table.write_text(json.dumps({"title": "T", "shape": "held-out", "output": "${runs}/t.md", "rows": [row]}))
    call(tables.main, table, f"runs={runs}")
    call(publish.main, runs, "--pack", folder / "demo.zip", "--tables", table)
    return runs, folder / "demo.zip"


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


def test_a_changed_reply_comes_out_as_a_difference(made, tmp_path, capsys):
    _, pack = made
    wrong = edit(
        pack,
        tmp_path / "wrong.zip",
        eval=lambda text: text.replace('"finish_reason": "stop"', '"finish_reason": "length"'),
    )
    with pytest.raises(PackError, match=r"[123] files? came out differently"):
        replay(wrong, tmp_path / "again")
    assert "DIFFERENT: eval/" in capsys.readouterr().out


def test_a_missing_reply_is_named_and_nobody_is_asked(made, tmp_path):
    _, pack = made
    fewer = edit(pack, tmp_path / "fewer.zip", agentic=lambda text: "\n".join(text.splitlines()[:-3]) + "\n")
    with pytest.raises(PackError, match=r"no reply to the \w+'s request [0-9a-f]{12}.*nothing was asked"):
        replay(fewer, tmp_path / "again")


def test_documents_of_unknown_licence_stay_at_home(tmp_path, capsys):
    runs = make_runs(tmp_path)
    call(publish.main, runs, "--pack", tmp_path / "p.zip")
    with pytest.raises(PackError, match="names these documents but does not hold them; put them there"):
        replay(tmp_path / "p.zip", tmp_path / "again")
    documents = tmp_path / "again/documents/0_docs"
    write_documents(documents, 7)
    with pytest.raises(PackError, match="these are not the documents"):
        replay(tmp_path / "p.zip", tmp_path / "again")
    write_documents(documents, 8)
    replay(tmp_path / "p.zip", tmp_path / "again")
