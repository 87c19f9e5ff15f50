"""Tests what goes into a pack, and that only what was compared is called equal."""

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from autodata import publish
from autodata.config import load
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.replay import check, make
from autodata.replay import replay as command
from autodata.replay.make import _leave_out, find_source
from autodata.replay.move import MOVES, Source
from autodata.replay.pack import PackError, Step
from autodata.replay.play import Made, hash_output
from autodata.replay.register import register, split
from autodata.replay.unpack import unpack
from autodata.run.records import RunError
from tests.helpers.commands import find_failure
from tests.helpers.fake_runs import demo_recipe, simple, write_run
from tests.helpers.packs import write_pack
from tests.test_publish import write_dataset

TEXT = " ".join(f"The old map number {n} shows a road that no traveller has used." for n in range(9))


def load_generation(documents: Path, *more: str) -> GenerateRecipe:
    return load(GenerateRecipe, ["recipes/demo/generate.yaml", f"documents.path={documents}", *more])


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_files_that_a_run_reads_go_into_its_pack(tmp_path):
    documents, prompts = tmp_path / "docs", tmp_path / "prompts"
    for name in (".env", ".git/config", "notes.docx", "a.txt", "b.txt"):
        (documents / name).parent.mkdir(parents=True, exist_ok=True)
        (documents / name).write_text(f"{name}: {TEXT}")
    prompts.mkdir()
    for name in (".env", "solver.j2", "notes.txt"):
        (prompts / name).write_text("text")
    recipe = load_generation(documents, "documents.limit=1", f"domain.prompts={prompts}")
    source = Source(tmp_path, {"a": ({}, recipe)})
    moved = MOVES["generate"](source, recipe, tmp_path / "staged")
    assert list_files(tmp_path / "staged") == {"documents/0_docs/a.txt", "prompts/0_prompts/solver.j2"}
    assert moved.documents.path == "documents/0_docs"


def test_weights_have_no_path_of_this_machine_in_a_pack(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.txt").write_text(TEXT)
    inside = f"{tmp_path}/grpo/model"
    for weights, name in (("/models/qwen", "qwen"), (inside, "grpo/model"), ("embedded", "embedded")):
        recipe = load_generation(tmp_path / "docs", f"models.endpoints.small.server.weights={weights}")
        moved = MOVES["generate"](Source(tmp_path, {"a": ({}, recipe)}), recipe, tmp_path / "staged")
        assert moved.models.endpoints["small"].server.weights == name


def write_unfinished(folder: Path, recipe: str, kind: str, finished: str | None) -> None:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(Path(recipe).read_text().replace("include: [base.yaml]", ""))
    (folder / "manifest.json").write_text(json.dumps({"inputs": {"kind": kind}, "finished": finished}))


def test_unfinished_runs_are_left_out_and_a_run_that_reads_one_says_so(tmp_path):
    write_unfinished(tmp_path / "data", "recipes/demo/dataset.yaml", "dataset", "now")
    write_unfinished(tmp_path / "agentic", "recipes/demo/generate.yaml", "generate", None)
    source = find_source(tmp_path)
    assert (list(source.runs), source.unfinished) == (["data"], ("agentic",))
    recipe = load(DatasetRecipe, ["recipes/demo/dataset.yaml", f"arms.agentic={tmp_path}/agentic"])
    with pytest.raises(PackError, match="this run is not finished; finish it"):
        MOVES["dataset"](source, recipe, tmp_path / "staged")


def test_a_kept_run_about_documents_of_unknown_licence_is_refused(tmp_path):
    recipe = load_generation(tmp_path / "docs")
    trajectory = replace(simple("d", "what is it?", demo_recipe()), document_source="d.txt")
    write_run(tmp_path / "a", demo_recipe(), replace(trajectory, document_licence="own terms"))
    source = Source(tmp_path, {"a": ({}, recipe)}, kept={"a": "why"})
    with pytest.raises(RunError, match=r"questions about d\.txt, whose licence is unknown"):
        check.require_known_rows(source)
    write_run(tmp_path / "b", demo_recipe(), replace(trajectory, document_licence=""))
    words = [f"arms.agentic={tmp_path / 'b'}", "sources={'*': mit}"]
    runs = {"b": ({}, recipe), "data": ({}, load(DatasetRecipe, ["recipes/demo/dataset.yaml", *words]))}
    check.require_known_rows(Source(tmp_path, runs, kept={"b": "why"}))


def test_a_single_file_keeps_its_name_in_a_pack(tmp_path):
    (tmp_path / "my a.txt").write_text(TEXT)
    recipe = load_generation(tmp_path / "my a.txt")
    MOVES["generate"](Source(tmp_path, {"a": ({}, recipe)}), recipe, tmp_path / "staged")
    assert list_files(tmp_path / "staged") == {"documents/0_my_a.txt/my a.txt"}


def test_an_ingest_goes_into_a_pack_without_what_its_manifest_tells(tmp_path):
    """Left out for its licence, it needs only its shards again."""
    (tmp_path / "ingest/documents").mkdir(parents=True)
    (tmp_path / "ingest/manifest.json").write_text('{"finished": "now", "host": "secret"}')
    row = {"id": "1", "text": TEXT, "licence": "", "fields": "{}", "file": "f", "line": 1}
    (tmp_path / "ingest/documents/0.jsonl").write_text(json.dumps(row) + "\n")
    recipe = load_generation(tmp_path / "ingest")
    source, staged = Source(tmp_path, {"a": ({}, recipe)}), tmp_path / "staged"
    MOVES["generate"](source, recipe, staged)
    place = staged / "documents/0_ingest"
    assert list_files(place) == {"manifest.json", "documents/0.jsonl"}
    assert "secret" not in (place / "manifest.json").read_text()
    assert _leave_out(source, staged) == {"0_ingest": "the licence of f:1 is unknown"}
    assert list_files(place) == {"manifest.json"}


@pytest.mark.parametrize(
    ("second", "sources", "arm", "place"),
    [
        ({"licence": "mit"}, {}, "a", ""),
        ({}, {}, "a", "d.jsonl:2"),  # beyond the limit, but in the same file
        ({}, {"*": "mit"}, "a", ""),
        ({}, {"*": "mit"}, "other", "d.jsonl:2"),  # a data set of other documents says nothing about these
    ],
)
def test_every_text_of_a_pack_needs_a_licence(tmp_path, second, sources, arm, place):
    rows = [{"id": "1", "text": TEXT, "licence": "mit"}, {"id": "2", "text": TEXT + " It is long."} | second]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load_generation(tmp_path / "docs", "documents.limit=1")
    words = [f"arms.agentic={tmp_path / arm}", f"sources={json.dumps(sources)}"]
    runs = {"a": ({}, recipe), "data": ({}, load(DatasetRecipe, ["recipes/demo/dataset.yaml", *words]))}
    source = Source(tmp_path, runs)
    MOVES["generate"](source, recipe, tmp_path / "staged")
    assert check.find_unlicensed(source, tmp_path / "staged") == ({"0_docs": place} if place else {})


@pytest.mark.slow  # makes a data set
def test_a_kept_data_set_needs_licences_too(tmp_path, monkeypatch):
    run = write_dataset(tmp_path, monkeypatch, "publisher-specific-oa")
    source = Source(tmp_path, {run.name: ({}, load(DatasetRecipe, [str(run / "recipe.yaml")]))})
    source.kept[run.name] = "why"
    with pytest.raises(RunError, match="rows come from documents of unknown licence"):
        check.require_known_rows(source)
    rows = run / "examples.jsonl"
    rows.write_text(rows.read_text().replace("publisher-specific-oa", "odc-by"))
    check.require_known_rows(source)


def test_a_table_of_the_runs_that_was_altered_is_found(tmp_path):
    for folder, name, text in (("runs", "t", "0.999"), ("again", "table1", "0.054")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.md").write_text(text)
        (tmp_path / folder / f"{name}.tex").write_text(f"\\label{{tab:{name}}} 0.054")
    source = Source(tmp_path / "runs", {}, tables={"table1": tmp_path / "runs/t.md"})
    made = Made(Step("table", "table1"), 0, 0.0, {"table1.md": "0", "table1.tex": "0"})
    with pytest.raises(PackError, match=r"t\.md: the replay gave another file"):
        check.require_equal(source, made, tmp_path / "again")
    (tmp_path / "runs/t.md").write_text("0.054")
    check.require_equal(source, made, tmp_path / "again")


def test_a_data_set_without_rows_is_equal_to_itself(tmp_path):
    for folder in ("runs", "again"):
        (tmp_path / folder / "data").mkdir(parents=True)
        (tmp_path / folder / "data/examples.jsonl").touch()
    made = Made(Step("dataset", "data"), 0, 0.0, {})
    check.require_equal(Source(tmp_path / "runs", {}), made, tmp_path / "again")


def test_a_line_separator_in_a_document_ends_no_row(tmp_path):
    """JSON need not escape U+2028, U+2029 and U+0085, which many web pages and PDF files have."""
    row = {"candidate": {"context": "one\u2028two\u2029three\x85four"}, "provenance": {"recipe_hash": "a"}}
    for folder in ("runs", "again"):
        (tmp_path / folder / "data").mkdir(parents=True)
        lines = 2 * (json.dumps(row, ensure_ascii=False) + "\n")
        (tmp_path / folder / "data/examples.jsonl").write_text(lines, encoding="utf-8")
    assert len(hash_output(tmp_path / "again/data/examples.jsonl")) == 16
    made = Made(Step("dataset", "data"), 0, 0.0, {})
    check.require_equal(Source(tmp_path / "runs", {}), made, tmp_path / "again")


def test_runs_too_large_for_any_pack_are_refused_before_they_are_compressed(tmp_path, monkeypatch):
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged/a.txt").write_text("x" * 100)
    monkeypatch.setattr(make, "MOST_BYTES", 100)
    make._require_small(tmp_path / "staged", tmp_path / "p.zip")
    monkeypatch.setattr(make, "MOST_BYTES", 99)
    with pytest.raises(PackError, match=r"p\.zip was not made, because it would hold 100 bytes.*fewer runs"):
        make._require_small(tmp_path / "staged", tmp_path / "p.zip")


def test_other_replies_do_not_go_into_the_folder_of_a_pack(tmp_path):
    """The description may be the same: a step that the first pack finished would pass for one of the second."""
    steps = [{"kind": "generate", "name": "a"}]
    unpack(write_pack(tmp_path / "p.zip", {"replies/a.jsonl": "one"}, steps=steps), tmp_path / "again")
    with pytest.raises(PackError, match="holds something else"):
        unpack(write_pack(tmp_path / "q.zip", {"replies/a.jsonl": "two"}, steps=steps), tmp_path / "again")


def test_a_kill_while_unpacking_leaves_no_half_of_a_pack(tmp_path, monkeypatch):
    pack = write_pack(tmp_path / "p.zip", {"kept/x.json": "{}"}, kept={"kept": "why"})

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(zipfile.ZipFile, "extractall", stop)
        with pytest.raises(KeyboardInterrupt):
            unpack(pack, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    unpack(pack, tmp_path / "again")
    assert list_files(tmp_path / "again") == {"pack.json", "kept/x.json", ".content"}


MADE = {"kind": "dataset", "name": "d"}


def test_a_kept_record_that_differs_is_not_called_as_published(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "play", lambda pack, _: [])
    pack = write_pack(tmp_path / "p.zip", {"kept/x.json": "{}"}, kept={"kept": "why"}, records={"kept/x.json": "0"})
    with pytest.raises(PackError, match="came out differently"):
        command.replay(pack, tmp_path / "again")
    assert capsys.readouterr().out.split() == ["kept", "kept", "DIFFERENT:", "kept/x.json"]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({"steps": []}, "nothing was compared: the pack has no run"),
        ({"steps": [MADE]}, "nothing was compared of d"),
        ({"steps": [MADE | {"outputs": {"d/x": "0"}}]}, "1 file came out differently: d/x"),
        ({"steps": [], "records": {"kept/x.json": "0"}}, r"1 file came out differently: kept/x\.json"),
    ],
)
def test_what_was_not_compared_is_not_equal(tmp_path, monkeypatch, described, expected):
    monkeypatch.setattr(command, "play", lambda pack, _: [Made(step, 0, 0.0, {}) for step in pack.steps])
    pack = write_pack(tmp_path / "p.zip", {"kept/x.json": "{}"}, kept={"kept": "why"}, **described)
    with pytest.raises(PackError, match=expected):
        command.replay(pack, tmp_path / "again")


def test_records_without_a_hash_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "play", lambda pack, _: [Made(step, 0, 0.0, step.outputs) for step in pack.steps])
    steps = [MADE | {"outputs": {"d/x": "0"}}]
    pack = write_pack(tmp_path / "p.zip", {"kept/x.json": "{}"}, kept={"kept": "why"}, steps=steps)
    monkeypatch.setattr(sys, "argv", ["replay", str(pack), str(tmp_path / "again")])
    assert find_failure(command.main) == ""
    assert "but 1 kept file was not compared" in capsys.readouterr().out


def test_a_page_that_is_no_list_of_results_is_not_touched(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# Mine\n")
    with pytest.raises(RunError, match="no table of published results"):
        split(page)
    assert page.read_text() == "# Mine\n"


def test_lines_around_the_table_of_results_stay(tmp_path):
    (tmp_path / "runs").mkdir()
    pack = unpack(write_pack(tmp_path / "p.zip"), tmp_path / "again")
    file = tmp_path / "RUNS.md"
    register(file, "first", "1 GPU", tmp_path / "runs", (tmp_path / "p.zip", pack))
    file.write_text(f"# Mine\n{file.read_text()}\nAfter it.\n")
    register(file, "second", "1 GPU", tmp_path / "runs", (tmp_path / "p.zip", pack))
    lines = file.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("# Mine", "After it.")
    assert [line.split(" | ")[0] for line in lines if "p.zip" in line] == ["| second"]


def test_one_run_in_the_place_of_their_folder_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"inputs": {"kind": "generate"}, "finished": "now"}))
    (tmp_path / "recipe.yaml").write_text(Path("recipes/demo/generate.yaml").read_text())
    with pytest.raises(PackError, match="this is a run itself"):
        find_source(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--pack", "."], "this is a folder"), (["--pack", "p.zip", "--private"], "--private belongs to --to")],
)
def test_a_call_that_makes_no_pack_is_refused_first(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["publish", str(tmp_path), *words])
    failure = find_failure(publish.main)
    assert message in failure + capsys.readouterr().err
