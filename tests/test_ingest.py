"""Tests the ingest command: four sources, the records that each drops, and the output for later commands."""

import gzip
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pyarrow.parquet
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from autodata.config import load
from autodata.corpora import ingest, sources
from autodata.corpora.documents import DocumentsError, read_corpus
from autodata.corpora.executors import Stage, _make_array, _run_on_slurm
from autodata.corpora.papers import build
from autodata.corpora.record import Drop, require_drawn
from autodata.recipes.corpora import IngestRecipe
from autodata.run.folder import read_manifest
from autodata.run.records import RunError
from autodata.run.snapshot import read_snapshot
from tests.helpers import golden_documents
from tests.helpers.commands import fails
from tests.helpers.fake_server import fake_server, play_skills
from tests.helpers.make_samples import SAMPLES, make_files, make_paper, make_papers_row, make_problems, pack, read_text
from tests.test_generate import arguments, run_main, write_documents

pytestmark = pytest.mark.slow

REPO = Path(__file__).parent.parent
SHORT = "s2orc.min_chars=1000"


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory) -> Path:
    """Counts words."""
    word_counter = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    word_counter.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    word_counter.save(str(path))
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch, tokenizer):
    """run(source, path, key=value…) runs the command and returns the manifest."""

    def go(source: str, path: Path, *arguments: str) -> dict:
        recipe = str(REPO / "recipes" / "ingest" / f"ingest_{source}.yaml")
        values = [f"path={path}", f"run={tmp_path / 'run'}", f"tokenizer={tokenizer}", "workers=1"]
        values += ["keep_rows=null", *arguments]
        monkeypatch.setattr(sys, "argv", ["ingest", recipe, *values])
        ingest.main()
        return read_manifest(tmp_path / "run")

    return go


def read_table(folder: Path) -> list[dict]:
    return pyarrow.parquet.read_table(folder).to_pylist()


def read_dropped(folder: Path) -> set[tuple[str, int, str]]:
    return {(row["file"], row["line"], row["reason"]) for row in read_table(folder / "dropped")}


def test_the_samples_are_what_their_script_writes():
    for name, data in make_files().items():
        packed = (SAMPLES / name).read_bytes()
        assert packed == data or gzip.decompress(packed) == gzip.decompress(data)
    for split, rows in make_problems().items():
        assert read_table(SAMPLES / "principia" / f"{split}-00000-of-00001.parquet") == rows


def test_files_whose_names_are_not_utf_8_have_lines_or_are_links(run, tmp_path: Path):
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    for folder in (corpus, elsewhere):
        folder.mkdir()
    for name in (b"caf\xe8.txt", b"caf\xe9.txt", b"two\nlines.txt"):
        (corpus / os.fsdecode(name)).write_text(f"text of {name!r}")
    (corpus / "empty\n|.txt").write_text("")
    (elsewhere / "far.txt").write_text("a text far away")
    (corpus / "linked").symlink_to(elsewhere)
    (corpus / "gone.txt").symlink_to(elsewhere / "no.txt")
    manifest = run("own", corpus)
    rows = read_table(tmp_path / "run" / "documents")
    assert {row["id"] for row in rows} == {"caf\\xe8.txt", "caf\\xe9.txt", "two\nlines.txt", "linked/far.txt"}
    assert manifest["rows"] == manifest["kept"] + sum(manifest["dropped"].values()) == 6
    assert "| empty | empty \\|.txt:1 (empty \\|.txt) |" in (tmp_path / "run" / "report.md").read_text()
    assert len(read_corpus(str(corpus)).documents) == 4


def test_papers_of_three_releases(run, tmp_path: Path):
    manifest = run("s2orc", SAMPLES / "s2orc", f"papers={SAMPLES / 'papers'}", SHORT)
    assert (manifest["rows"], manifest["kept"]) == (15, 11)
    assert manifest["dropped"] == {
        "not JSON": 1,
        "annotations are not JSON": 1,
        "duplicate id": 1,
        "not eligible by year or field of study": 1,
    }
    assert manifest["licences"] == {"CCBY": 4, "not stated": 7}
    assert manifest["papers"]["eligible"] == 14
    file = "s2orc_v2/20260917_0000.gz"
    assert read_dropped(tmp_path / "run") == {
        (file, 4, "not JSON"),
        (file, 5, "annotations are not JSON"),
        (file, 7, "duplicate id"),
        (file, 8, "not eligible by year or field of study"),
    }
    documents = {d.id: d for d in read_corpus(str(tmp_path / "run")).documents}
    assert set(documents) == {f"s2orc-{n}" for n in (1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 16)}
    assert documents["s2orc-1"].source == f"{file}:1"
    assert documents["s2orc-1"].fields["licence"] == "CCBY"
    assert documents["s2orc-1"].fields["doi"] == "10.5555/1"
    assert documents["s2orc-6"].fields["broken_spans"] == 1
    assert documents["s2orc-7"].fields["has_abstract"] is True


def test_court_opinions(run, tmp_path: Path):
    manifest = run("pile_of_law", SAMPLES / "pile_of_law")
    assert [f["name"] for f in manifest["sources"]] == ["data/train.courtlisteneropinions.0.jsonl.xz"]
    assert len(manifest["sources"][0]["sha256"]) == 64
    assert manifest["dropped"] == {"null row": 1, "too short": 1, "duplicate text": 1}
    texts = [row["text"] for row in read_table(tmp_path / "run" / "documents")]
    assert len(texts) == 2
    assert not any("<" in text for text in texts)


def test_problems_of_both_splits(run, tmp_path):
    manifest = run("principia", SAMPLES / "principia")
    assert (manifest["kept"], manifest["dropped"]) == (12, {"no answer": 1})
    now = read_snapshot(tmp_path / "run")
    assert (now.state, now.facts["stage"], now.done) == ("finished", "write", now.total)
    assert [f["name"][:4] for f in manifest["sources"]] == ["test", "trai"]


@pytest.mark.parametrize("source", golden_documents.ARGUMENTS)
def test_each_real_form_gives_the_documents_of_the_golden_file(run, tmp_path: Path, source):
    run(source, SAMPLES / source, *golden_documents.ARGUMENTS[source])
    expected = (golden_documents.GOLDEN / f"{source}.txt").read_text(encoding="utf-8")
    assert golden_documents.describe(tmp_path / "run") == expected


def test_the_hubs_cache_whose_files_are_links(run, tmp_path: Path):
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshots" / "0a1b" / "data"
    snapshot.mkdir(parents=True)
    for file in (SAMPLES / "principia").iterdir():
        (tmp_path / "blobs" / file.stem).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(tmp_path / "blobs" / file.stem)
    assert run("principia", tmp_path / "snapshots")["kept"] == 12


def test_own_texts_of_every_kind(run, tmp_path: Path):
    manifest = run("own", SAMPLES / "own", "own.licence=mine")
    assert manifest["licences"] == {"CC-BY-4.0": 1, "CC0": 1, "CC0-1.0": 1, "mine": 12}
    assert sum(manifest["dropped"].values()) == 2
    report = (tmp_path / "run" / "report.md").read_text()
    assert "not a readable PDF" in report
    assert (tmp_path / "run" / "funnel.png").stat().st_size > 1_000
    rows = read_table(tmp_path / "run" / "documents")
    assert sum(row["tokens"] for row in rows) == sum(len(row["text"].split()) for row in rows)
    assert manifest["tokens"]["total"] == sum(row["tokens"] for row in rows)


def test_licences_go_from_the_file_to_the_trajectory(run, tmp_path: Path, monkeypatch, capsys):
    """Ingests, then generates from the result, against a scripted server."""
    write_documents(tmp_path / "docs", 2)
    run("own", tmp_path / "docs", "own.licence=CC0-1.0")
    with fake_server(play_skills) as server:
        more = (f"documents.path={tmp_path / 'run'}", "domain.max_rounds=1")
        run_main(monkeypatch, capsys, arguments(tmp_path, server.url, *more, run="generated"))
    trajectories = [
        json.loads(line) for line in (tmp_path / "generated" / "trajectories.jsonl").read_text().splitlines()
    ]
    assert sorted((t["document_id"], t["document_source"], t["document_licence"]) for t in trajectories) == [
        (f"doc{i}.txt", f"doc{i}.txt:1", "CC0-1.0") for i in range(2)
    ]


def write_rows(folder: Path, **files: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_bytes(pack(rows))
    return folder


def test_no_text_is_lost_because_of_a_row_that_is_dropped(run, tmp_path: Path):
    first, second, third = (read_text(f"cs_{n:02d}")[1][0] for n in (1, 2, 3))
    a = [{"id": 1, "text": first}, {"id": 2, "text": third}]
    near = f"{second} And that is all."
    b = [{"id": 1, "text": second}, {"id": 7, "text": second}, {"id": 8, "text": near}]
    manifest = run("own", write_rows(tmp_path / "rows", a=a, b=b))
    documents = {row["id"]: row["text"] for row in read_table(tmp_path / "run" / "documents")}
    assert documents == {"1": first, "2": third, "7": second}
    assert manifest["dropped"] == {"duplicate id with another text": 1, "near-duplicate text": 1}


def test_no_document_is_an_error_that_names_the_stage_and_the_rows(run, tmp_path: Path):
    folder = write_rows(tmp_path / "rows", a=[{"id": "x", "text": "short"}, {"id": "y", "text": "brief"}])
    with fails(r"no document is left: the last of 2 rows were dropped in reading and filtering .too short: 2"):
        run("own", folder, "own.min_chars=10")
    assert "a.jsonl:1 (x); a.jsonl:2 (y)" in (tmp_path / "run" / "report.md").read_text()
    assert {row["id"] for row in read_table(tmp_path / "run" / "dropped")} == {"x", "y"}
    assert not read_manifest(tmp_path / "run").get("finished")


def test_a_join_without_an_eligible_paper_is_an_error(run):
    with fails("none of 16 papers is eligible by s2orc.min_year=2090"):
        run("s2orc", SAMPLES / "s2orc", f"papers={SAMPLES / 'papers'}", SHORT, "s2orc.min_year=2090")


def test_corpusids_may_be_strings_and_rows_without_any_are_named(run, tmp_path: Path):
    field = [{"category": "Computer Science"}]
    rows = [{"corpusid": name, "year": 2025, "s2fieldsofstudy": field} for name in ("7", 7, "x", None)]
    counts = build(rows, tmp_path / "join", 2022, "Computer Science")
    assert (counts["eligible"], counts["duplicates"], counts["without corpusid"]) == (1, 1, 2)
    folder = write_rows(tmp_path / "papers", a=rows[2:])
    with fails("none of 2 rows has a number as `corpusid`"):
        run("s2orc", SAMPLES / "s2orc", f"papers={folder}", SHORT)


def test_a_tokenizer_that_is_not_there_is_an_error_before_anything_is_read(run, tmp_path: Path):
    with fails("tokenizer=nosuch.json: cannot be loaded"):
        run("own", SAMPLES / "own", "tokenizer=nosuch.json")
    assert not (tmp_path / "run").exists()


def test_a_job_that_slurm_refuses_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    recipe = load(IngestRecipe, ["recipes/ingest/ingest_own.yaml", "path=x"])
    array = _make_array(recipe, Stage("read", [partial(print)], [1]), tmp_path / "logs")
    with pytest.raises(RunError, match="Slurm did not take the job"):
        _run_on_slurm(array, tmp_path / "job")


def test_a_subset_without_a_file_is_an_error(run):
    with fails("train.euro_parl"):
        run("pile_of_law", SAMPLES / "pile_of_law", "pile_of_law.subsets=[courtlisteneropinions,euro_parl]")


def test_what_is_left_out_or_mended_is_counted(run, tmp_path: Path, capsys):
    folder = write_rows(tmp_path / "rows", a=[{"text": "a first text"}])
    (folder / "b.docx").write_bytes(b"PK")
    (folder / "c.txt").write_bytes(b"the court\x92s fac-\ntors")
    manifest = run("own", folder)
    assert manifest["files_left_out"] == {".docx": 1}
    assert ".docx: 1" in capsys.readouterr().out
    assert manifest["encodings"] == {"windows-1252 (guessed)": 1}
    assert manifest["changes"] == {"divided words joined": 1}


def test_a_finished_run_is_not_repeated_and_other_inputs_are_refused(run, tmp_path: Path, capsys):
    first = run("principia", SAMPLES / "principia")
    assert run("principia", SAMPLES / "principia", "workers=2", "executor=local") == first
    assert "up to date" in capsys.readouterr().out
    with fails("made from other inputs"):
        run("principia", SAMPLES / "principia", "one_in=2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["executor=ssh"], "choose local or slurm"),
        (["one_in=0"], "must be 1 or more"),
        (["workers=0"], "workers=0"),
        (["source=arxiv"], "choose one of s2orc"),
        (["path=nowhere"], "no such folder"),
        (["source=pile_of_law"], "no file for source=pile_of_law"),
        (["source=s2orc"], "name the folder of the `papers`"),
        (["opt_out=nowhere.txt"], "opt_out=nowhere.txt"),
    ],
)
def test_errors_name_what_to_change(run, arguments, message):
    with fails(message):
        run("principia", SAMPLES / "principia", *arguments)


def test_a_sample_is_the_same_part_of_any_corpus(run, tmp_path: Path):
    (tmp_path / "texts").mkdir()
    for n in range(60):
        (tmp_path / "texts" / f"{n}.txt").write_text(f"text number {n}")
    manifest = run("own", tmp_path / "texts", "one_in=4")
    assert 5 <= manifest["kept"] <= 25
    assert manifest["dropped"] == {"not drawn": 60 - manifest["kept"]}
    kept = {row["id"] for row in read_table(tmp_path / "run" / "documents")}
    assert kept == {f"{n}.txt" for n in range(60) if is_drawn(f"{n}.txt", 4)}


def is_drawn(identity: str, one_in: int) -> bool:
    try:
        require_drawn(identity, one_in)
    except Drop:
        return False
    return True


def test_who_opted_out_is_left_out(run, tmp_path: Path):
    names = "\ufeffhttps://doi.org/10.5555/2\n# asked us\nHTTP://example.org/3.pdf  # by mail\ns2orc-7\n\n"
    (tmp_path / "opt_out.txt").write_text(names, encoding="utf-8")
    papers = f"papers={SAMPLES / 'papers'}"
    manifest = run("s2orc", SAMPLES / "s2orc", papers, SHORT, f"opt_out={tmp_path / 'opt_out.txt'}")
    assert manifest["dropped"]["opted out"] == 3
    assert manifest["kept"] == 8


def test_names_that_are_opted_out_may_be_written_in_several_forms(tmp_path: Path):
    forms = ["DOI: 10.1/A", "http://dx.doi.org/10.1/a", "10.1/a"]
    forms += ["arXiv:2101.00001v2", "https://arxiv.org/pdf/2101.00001.pdf", "2101.00001"]
    (tmp_path / "names.txt").write_text("\r\n".join([*forms, "https://example.org/", "http://example.org"]))
    assert sources.read_opt_out(str(tmp_path / "names.txt")) == {"10.1/a", "2101.00001", "https://example.org"}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("arXiv:1303.3664v2", "1303.3664"),
        ("https://arxiv.org/pdf/1303.3664v11.pdf", "1303.3664"),
        ("2101.00001v3", "2101.00001"),
        ("hep-th/9901001v2", "hep-th/9901001"),
        ("math.AG/0601001", "math/0601001"),
        ("https://arxiv.org/abs/cs/0601001v1", "cs/0601001"),
        ("10.1234/5678v2", "10.1234/5678v2"),  # of another kind
        ("reports/1234567v2", "reports/1234567v2"),
        ("13033.3664v2", "13033.3664v2"),
    ],
)
def test_the_number_of_a_paper_of_arxiv_has_no_version(name, plain):
    assert sources._write_name(name) == sources._write_name(plain) == plain


def test_files_that_are_damaged_lose_only_what_is_damaged(run, tmp_path: Path):
    folder = tmp_path / "files"
    folder.mkdir()
    whole = gzip.compress(pack([make_paper(1), make_paper(2), make_paper(3)]))
    (folder / "1_cut.gz").write_bytes(whole[:-30])
    (folder / "2_lines.gz").write_bytes(gzip.compress(pack(["[1]", "null", {"corpusid": 4}, make_paper(4), "{"])))
    (folder / "3_large.gz").write_bytes(
        gzip.compress(b'{"a": "' + b"x" * (70 << 20) + b'"}\n' + pack([make_paper(5)]))
    )
    (folder / "4_gone.gz").symlink_to(tmp_path / "nowhere")
    (folder / "5_noise.gz").write_bytes(b"no archive")
    (folder / "papers").mkdir()
    rows = gzip.compress(pack([make_papers_row(n) for n in range(1, 7)]))
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.gz").write_bytes(rows)
    manifest = run("s2orc", folder, f"papers={tmp_path / 'papers'}", SHORT)
    dropped = read_dropped(tmp_path / "run")
    assert {
        ("1_cut.gz", "file is cut off or damaged"),
        ("5_noise.gz", "file is cut off or damaged"),
        ("2_lines.gz", "not an object"),
        ("2_lines.gz", "null row"),
        ("2_lines.gz", "no text"),
        ("2_lines.gz", "not JSON"),
    } <= {(file, reason) for file, _, reason in dropped}
    assert ("3_large.gz", 1, f"a line of more than {64 << 20:,} bytes") in dropped
    assert {row["id"] for row in read_table(tmp_path / "run" / "documents")} >= {"s2orc-4", "s2orc-5"}
    assert manifest["rows"] == manifest["kept"] + sum(manifest["dropped"].values())


def test_a_file_that_disappears_is_counted(run, tmp_path: Path, monkeypatch):
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.jsonl", "c.txt"):
        (tmp_path / "texts" / name).write_text('{"text": "a text"}' if name == "b.jsonl" else f"text of {name}")
    share_out = sources.share_out

    def remove_first(files: dict[str, int]) -> list[list[str]]:
        (tmp_path / "texts" / "b.jsonl").unlink()  # after the files were listed
        return share_out(files)

    monkeypatch.setattr(sources, "share_out", remove_first)
    manifest = run("own", tmp_path / "texts")
    assert manifest["dropped"] == {"file cannot be read: No such file or directory": 1}
    assert manifest["kept"] == 2
    assert next(f for f in manifest["sources"] if f["name"] == "b.jsonl")["sha256"] == ""


def test_an_ingest_that_is_not_finished_is_no_corpus(run, tmp_path: Path):
    run("principia", SAMPLES / "principia")
    path = tmp_path / "run" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": None}))
    with pytest.raises(DocumentsError, match="not finished"):
        read_corpus(str(tmp_path / "run"))


def test_a_damaged_shard_stops_the_reader(run, tmp_path: Path):
    run("principia", SAMPLES / "principia")
    (shard,) = (tmp_path / "run" / "documents").iterdir()
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DocumentsError, match=r"00000\.parquet: file is cut off or damaged"):
        read_corpus(str(tmp_path / "run"))


def test_large_files_have_a_task_of_their_own_and_small_ones_share():
    large, small = 63 << 20, 2 << 20
    files = {"a": large, "b": small, "c": small, "d": large, "e": small}
    assert sources.share_out(files) == [["a"], ["b", "c"], ["d"], ["e"]]
    assert [len(t) for t in sources.share_out(dict.fromkeys(map(str, range(1_001)), 0))] == [1_000, 1]


@pytest.mark.slow
def test_the_demo_of_the_readme(tmp_path: Path):
    done = subprocess.run(["bash", "recipes/ingest/demo.sh", str(tmp_path)], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = {source: read_manifest(tmp_path / source)["kept"] for source in sources.EXPECTED}
    assert kept == {"s2orc": 11, "pile_of_law": 3, "principia": 12, "own": 15}


def test_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ingest", "--help"])
    with pytest.raises(SystemExit, match="0"):
        ingest.main()
    assert "recipes/ingest/ingest_s2orc.yaml" in capsys.readouterr().out


def test_a_recipe_keeps_the_languages_that_it_names(run, tmp_path: Path):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "one.txt").write_text("The keeper of the light wiped the salt from the glass, as he did every evening.")
    (texts / "two.txt").write_text("Der Wärter des Turms wischte das Salz vom Glas, wie er es jeden Abend machte.")
    manifest = run("own", texts, "quality.languages=[en]")
    assert (manifest["kept"], manifest["dropped"]) == (1, {"another language": 1})
    assert read_dropped(tmp_path / "run") == {("two.txt", 1, "another language")}


@pytest.mark.parametrize(("values", "named"), [([], {}), (["slurm.partition=large"], {"partition": "large"})])
def test_the_site_chooses_the_partition_of_an_array_unless_the_recipe_does(tmp_path, values, named):
    """An option in a job's file yields to SBATCH_PARTITION, but overrides the cluster's default."""
    recipe = load(IngestRecipe, ["recipes/ingest/ingest_own.yaml", "path=x", *values])
    arguments = _make_array(recipe, Stage("read", [], [1]), tmp_path).get_sbatch_args()
    assert {key: value for key, value in arguments.items() if key == "partition"} == named
    assert arguments["mem-per-cpu"] == "4G"


def test_documents_with_a_benchmark_text_are_dropped_and_named(run, tmp_path: Path):
    rows = [
        {"id": "clean", "text": "Water is wet, and that is all."},
        {"id": "leak", "text": read_text("cs_01")[1][0]},
    ]
    words = read_text("cs_01")[1][0].split()
    question = {"question": f"Is it so? {' '.join(words[3:18])}", "answer": "Yes."}
    (tmp_path / "bench.jsonl").write_text(json.dumps(question))
    folder = write_rows(tmp_path / "rows", a=rows)
    manifest = run("own", folder, f"decontaminate=[{tmp_path / 'bench.jsonl'}]")
    assert (manifest["kept"], manifest["dropped"]) == (1, {"contains a text of a benchmark": 1})
    assert manifest["benchmark_texts_too_short"] == 1
    (row,) = read_table(tmp_path / "run" / "dropped")
    assert row["id"] == "leak"
    assert row["detail"].startswith("bench.jsonl:1: ")
    assert "a.jsonl:2 (leak)" in (tmp_path / "run" / "report.md").read_text()
    (tmp_path / "bench.jsonl").write_text("{}")
    with fails("made from other inputs"):
        run("own", folder, f"decontaminate=[{tmp_path / 'bench.jsonl'}]")


def test_a_benchmark_that_is_missing_is_an_error_before_anything_is_read(run, tmp_path: Path):
    with fails("decontaminate: .*nowhere.jsonl: no .jsonl"):
        run("own", SAMPLES / "own", f"decontaminate=[{tmp_path / 'nowhere.jsonl'}]")
    assert not (tmp_path / "run").exists()


def test_a_shard_is_linked_and_copied_where_there_are_no_links(tmp_path: Path, monkeypatch):
    shard, link, copy = tmp_path / "shard", tmp_path / "link", tmp_path / "copy"
    shard.write_text("rows")
    ingest._link(str(shard), str(link))
    assert link.samefile(shard)
    monkeypatch.setattr(ingest.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    ingest._link(str(shard), str(copy))
    assert copy.read_text() == "rows" and not copy.samefile(shard)
