"""Tests that a pack of a stranger is refused before it can run, read, forge or fill anything."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from autodata.config import REPO
from autodata.replay import play as module
from autodata.replay.pack import PackError
from autodata.replay.play import play
from autodata.replay.unpack import unpack
from autodata.run.records import RunError, digest
from tests.helpers.packs import write_pack

RUN = {"kind": "generate", "name": "a"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2, but this code reads version 1"),
        (
            {"steps": [{"kind": "shell", "name": "x"}]},
            "a step of kind 'shell'; known are generate, dataset, eval, tab",
        ),
        ({"steps": [{"kind": "eval", "name": "../x"}]}, "'../x' is no path inside the folder of the runs"),
        ({"steps": [{"kind": "eval", "name": "-m"}]}, "'-m' is no path inside"),
        ({"steps": [{"kind": "eval", "name": ""}]}, "'' is no path inside"),
        ({"steps": [{"kind": "eval", "name": "a//b"}]}, "'a//b' is no path inside"),
        ({"steps": [{"kind": "eval", "name": "a/./b"}]}, "'a/./b' is no path inside"),
        ({"steps": [{"kind": "eval", "name": ".hidden"}]}, "'.hidden' is no path inside"),
        ({"steps": [{"kind": "eval", "name": "${oc.env:HOME}"}]}, "'${oc.env:HOME}' is no path inside"),
        ({"steps": [{"kind": "eval", "name": "a\x1b[2J"}]}, "is no path inside"),
        ({"steps": [{"kind": "eval", "name": "recipes/a"}]}, "'recipes/a' is where a pack keeps its own files"),
        ({"steps": [RUN, RUN]}, "two runs or tables are named 'a'"),
        ({"steps": [RUN], "kept": {"a": "why"}}, "two runs or tables are named 'a'"),
        ({"steps": [RUN | {"outputs": {"/etc/passwd": "0"}}]}, "'/etc/passwd' is no path inside"),
        ({"weights": ["/tmp/w"]}, "'/tmp/w' is no path inside"),
        ({"weights": ["pack.json"]}, "'pack.json' is where a pack keeps its own files"),
        ({"documents": {"..": "0"}}, "'..' is no path inside"),
        ({"kept": {"../x": "why"}}, "'../x' is no path inside"),
        ({"kept": {"x": "\x1b]0;title\x07"}}, "control characters"),
        ({"git_commit": "\x1b[31m"}, "control characters"),
        ({"steps": 5}, "not the description of a pack"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_description_must_not_say(tmp_path, changes, message):
    with pytest.raises(PackError, match=re.escape(message)):
        unpack(write_pack(tmp_path / "p.zip", **changes), tmp_path / "again")
    assert not (tmp_path / "again").exists()


COSTS = '{"ledger": {}, "elapsed_s": 1.0}'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("../outside.txt", "x", "no place in a pack"),
        ("/outside.txt", "x", "no place in a pack"),
        ("documents/0_d/../../outside.txt", "x", "no place in a pack"),
        ("documents/other/x.txt", "x", "no place in a pack"),
        ("autodata/__init__.py", "raise SystemExit", "no place in a pack"),
        ("sitecustomize.py", "raise SystemExit", "no place in a pack"),
        (".env", "INSPECT_TELEMETRY=x", "no place in a pack"),
        ("a/trajectories.jsonl", "{}", "no place in a pack"),  # a result instead of its replies
        ("a/journal.sqlite", "", "no place in a pack"),
        ("kept/.hidden", "", "no place in a pack"),
        ("kept/inner/examples.jsonl", "", "no place in a pack"),  # `kept/inner` is a run that is made again
        ("a/manifest.json", '{"finished": "now"}', "says more than what the run had cost"),
        ("a/manifest.json", "[]", "says more than what the run had cost"),
        ("a/manifest.json", "[" * 100_000, "not a pack"),
        ("recipes/a.yaml", "include: [/etc/passwd]", "an alias, an include or an interpolation"),
        ("recipes/a.yaml", "label: ${oc.env:HOME}", "an alias, an include or an interpolation"),
        ("recipes/a.yaml", 'label: "\\x24{oc.env:HOME}"', "an alias, an include or an interpolation"),
        ("recipes/a.yaml", "a: &x [1]\nb: [*x, *x]", "an alias, an include or an interpolation"),
        ("prompts/0_p/domain.yaml", "a: &x [1]\nb: [*x, *x]", "an alias, an include or an interpolation"),
        ("recipes/a.yaml", "a: [", "not a pack"),
        ("recipes/a.yaml", b"\xff\xfe\x00", "not a pack"),
        ("recipes/a.yaml", "#" * (17 << 20), "not a pack"),
        ("pack.json/inner", "", "'pack.json' is in it twice"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "bytes",
)
def test_what_a_pack_must_not_hold(tmp_path, name, text, message):
    described = {"steps": [RUN, {"kind": "dataset", "name": "kept/inner"}], "kept": {"kept": "why"},
                 "documents": {"0_d": "0"}}  # fmt: skip
    with pytest.raises(PackError, match=message):
        unpack(write_pack(tmp_path / "p.zip", {name: text}, **described), tmp_path / "in/again")
    assert not (tmp_path / "in").exists()
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("members", [{"a/manifest.json": COSTS.replace("1.0", "0.1")}, {}])
def test_costs_that_were_altered_or_taken_away_are_found(tmp_path, members):
    """No replay computes them again, and they stand in tables and in RUNS.md."""
    described = {"steps": [RUN], "costs": {"a": digest(COSTS.encode())}}
    with pytest.raises(PackError, match=r"a/manifest\.json says other costs than those"):
        unpack(write_pack(tmp_path / "p.zip", members, **described), tmp_path / "again")
    unpack(write_pack(tmp_path / "p.zip", {"a/manifest.json": COSTS}, **described), tmp_path / "again")


def test_a_step_without_its_recipe_is_named(tmp_path):
    pack = unpack(write_pack(tmp_path / "p.zip", steps=[RUN]), tmp_path / "again")
    with pytest.raises(PackError, match=r"recipes/a\.yaml: the pack names a but lacks this recipe"):
        list(play(pack, tmp_path / "again"))


def test_what_a_pack_may_hold(tmp_path):
    members = {"recipes/a.yaml": "seed: 0\n", "replies/a.jsonl": "", "a/manifest.json": COSTS,
               "kept/curve.json": "{}", "documents/0_d/.odd name [1]": "text", "documents/0_d/sub/x.txt": "text",
               "prompts/0_p/solver.j2": "{{ question }}"}  # fmt: skip
    pack = write_pack(tmp_path / "p.zip", members, steps=[RUN], kept={"kept": "why"}, documents={"0_d": "0"})
    assert [step.name for step in unpack(pack, tmp_path / "again").steps] == ["a"]
    written = {str(path.relative_to(tmp_path / "again")) for path in (tmp_path / "again").rglob("*") if path.is_file()}
    assert written == {*members, "pack.json", ".content"}


def test_a_name_that_stands_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        pack = write_pack(tmp_path / "p.zip", {"pack.json": "{}"})
    with pytest.raises(PackError, match=r"'pack\.json' is in it twice"):
        unpack(pack, tmp_path / "again")


def test_a_pack_that_would_fill_the_disk_is_refused_unread(tmp_path, monkeypatch):
    from autodata.replay import unpack as unpacking

    pack = write_pack(tmp_path / "p.zip", {"documents/0_d/x.txt": "x" * 1000}, documents={"0_d": "0"})
    monkeypatch.setattr(unpacking, "MOST_BYTES", 500)
    with pytest.raises(PackError, match="no pack is larger than 500"):
        unpack(pack, tmp_path / "again")
    monkeypatch.setattr(unpacking, "MOST_BYTES", 5000)
    monkeypatch.setattr(unpacking, "_MOST_FILES", 1)
    with pytest.raises(PackError, match="2 files; no pack has more than 1"):
        unpack(pack, tmp_path / "again")


@pytest.mark.parametrize("field", ["flags", "method"])
def test_an_archive_that_python_cannot_read_is_no_pack(tmp_path, field):
    """A password, and a way of compression that nobody knows, as the headers of the ZIP format write them."""
    data = bytearray(write_pack(tmp_path / "p.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(mark) + offset + (2 if field == "method" else 0)
        data[at : at + 2] = (b"\x63\x00", b"\x01\x00")[field == "flags"]
    (tmp_path / "p.zip").write_bytes(data)
    with pytest.raises(PackError, match=r"p\.zip: not a pack"):
        unpack(tmp_path / "p.zip", tmp_path / "again")


def test_a_link_in_a_pack_becomes_a_file(tmp_path):
    pack = write_pack(tmp_path / "p.zip", documents={"0_d": "0"})
    link = zipfile.ZipInfo("documents/0_d")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(pack, "a") as archive:
        archive.writestr(link, "/etc")
    unpack(pack, tmp_path / "again")
    assert (tmp_path / "again/documents/0_d").read_text() == "/etc"
    assert not (tmp_path / "again/documents/0_d").is_symlink()


GENERATE = "domain: {name: skills}\ndocuments: {path: PATH}\n"


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        ("generate", GENERATE.replace("PATH", "/etc")),
        ("generate", GENERATE.replace("PATH", "documents/../../secret")),
        ("generate", GENERATE.replace("PATH", "documents/0_d") + "budget_from: ../elsewhere\n"),
        ("generate", "domain: {name: skills, prompts: /etc}\ndocuments: {path: documents/0_d}\n"),
        ("dataset", "arms: {agentic: /home}\ndecontaminate: []\n"),
        ("table", "title: t\nshape: held-out\nrows: [{label: a, run: ~/runs, command: c}]\n"),
    ],
)
def test_a_recipe_that_reads_other_files_of_this_machine_is_refused(tmp_path, monkeypatch, kind, recipe):
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: pytest.fail("it was run"))
    step = {"kind": kind, "name": "a"}
    pack = unpack(write_pack(tmp_path / "p.zip", {"recipes/a.yaml": recipe}, steps=[step]), tmp_path / "again")
    with pytest.raises(PackError, match="which is no path inside the pack"):
        list(play(pack, tmp_path / "again"))


@pytest.mark.parametrize("described", [{"weights": ["kept/x.json/w"]}, {"steps": [RUN | {"name": "kept/x.json/a"}]}])
def test_a_folder_where_a_file_is_ends_with_its_name(tmp_path, described):
    members = {"kept/x.json": "{}", "replies/kept/x.json/a.jsonl": ""}
    members = members if "steps" in described else {"kept/x.json": "{}"}
    pack = unpack(write_pack(tmp_path / "p.zip", members, kept={"kept": "why"}, **described), tmp_path / "again")
    with pytest.raises(RunError, match=r"kept/x\.json"):
        list(play(pack, tmp_path / "again"))


def test_code_that_lies_in_the_folder_is_not_imported(tmp_path, monkeypatch):
    """Python looks for modules first where it starts; a replay starts in a folder that a stranger filled."""
    for name in ("autodata/__init__.py", "autodata/dataset.py", "omegaconf.py", "sitecustomize.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("open('ran', 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", f".{module.os.pathsep}{REPO}")  # a relative path is of the folder of the user
    monkeypatch.chdir(REPO)
    command = [module.sys.executable, "-m", "autodata.dataset", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=module._isolate(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not Path(tmp_path / "ran").exists()


def test_a_log_cannot_write_to_the_terminal(tmp_path, monkeypatch):
    steps = [{"kind": "table", "name": "a"}]
    recipe = {"recipes/a.yaml": "title: t\nshape: held-out\n"}
    pack = unpack(write_pack(tmp_path / "p.zip", recipe, steps=steps), tmp_path / "again")

    def fail(command, stdout, **_):
        stdout.write(b"\x1b[2Jerror: why\n")
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(module.subprocess, "run", fail)
    with pytest.raises(PackError, match="error: why") as raised:
        list(play(pack, tmp_path / "again"))
    assert "\x1b" not in str(raised.value)
