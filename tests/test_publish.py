"""Tests publishing to a hub on loopback: the uploaded files, the files that stay here, and the refusals."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

import huggingface_hub.constants
import huggingface_hub.hf_api
import pytest
import yaml

from autodata import dataset, publish, verify
from autodata.config import REPO, load, to_yaml
from autodata.data import parquet
from autodata.data.release import KINDS, find_leaks, make_portable, stage
from autodata.recipes.training import GrpoRecipe
from autodata.run.locks import fresh_folder
from autodata.run.records import RunError, read_records
from autodata.types import EXAMPLE, TRAJECTORY
from tests.helpers.commands import find_failure
from tests.helpers.fake_hub import FakeHub, Repo, fake_hub
from tests.helpers.fake_runs import demo_recipe, simple, write_run
from tests.helpers.parquet_rows import to_example
from tests.test_dataset import question

pytestmark = pytest.mark.slow

TOKEN = "hf_" + "plantedTokenOfNobody" * 2
WEIGHTS = "/somewhere/else/weights"
DATASET = KINDS["dataset"]
RECIPES = {"agentic": demo_recipe(f"models.endpoints.small.server.weights={WEIGHTS}"), "cot": demo_recipe("arm=cot")}


def write_dataset(folder: Path, monkeypatch, licence: str = "odc-by") -> Path:
    """Write a small dataset of two arms from runs with absolute paths."""
    arms = []
    for arm, recipe in RECIPES.items():
        trajectories = [simple(f"d{i}", question(i), recipe, arm) for i in range(6)]
        inputs = {"inputs": {"kind": "generate", "models.endpoints.small.server.weights": WEIGHTS, "prompts": "p1"}}
        arms.append(f"arms.{arm}={write_run(folder / arm, recipe, *trajectories, **inputs)}")
    recipe = folder / "dataset.yaml"
    recipe.write_text(f'decontaminate: []\nsources: {{"d0*": {licence}, "*": mit}}\n')
    run = folder / "dataset"
    monkeypatch.setattr(sys, "argv", ["dataset", str(recipe), f"run={run}", *arms])
    dataset.main()
    return run


@pytest.fixture(scope="module")
def dataset_folder(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return write_dataset(tmp_path_factory.mktemp("runs"), monkeypatch)


@pytest.fixture(scope="module")
def staged(dataset_folder) -> Path:
    return publish.prepare(dataset_folder, allow_unknown=False)[0]


@pytest.fixture
def hub(monkeypatch):
    """Puts a fake hub in the place of the real one."""
    with fake_hub(TOKEN) as running:
        for module in (huggingface_hub.constants, huggingface_hub.hf_api.constants):
            monkeypatch.setattr(module, "ENDPOINT", running.url)
            monkeypatch.setattr(module, "HF_HUB_DISABLE_XET", True)
            monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


def call(monkeypatch, *arguments: object) -> str:
    """Run the command and return its error, empty on success."""
    monkeypatch.setattr(sys, "argv", ["publish", *map(str, arguments)])
    return find_failure(publish.main)


def files_of(hub: FakeHub, name: str, kind: str = "dataset") -> dict[str, bytes]:
    return hub.repos[kind, name].files


# ── what arrives ───────────────────────────────────────────────────────────────────────────────


def test_what_arrives_is_complete_verifies_and_has_nothing_of_this_machine(
    dataset_folder, hub, monkeypatch, tmp_path, capsys
):
    assert call(monkeypatch, dataset_folder, "--to", "me/data", "--private") == ""
    output = capsys.readouterr()
    files = files_of(hub, "me/data")
    for name, data in files.items():
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    assert verify.verify(tmp_path / "copy") == (12, [])
    assert hub.repos["dataset", "me/data"].private
    everything = b"".join(files.values()) + (output.out + output.err).encode()
    everything += b"".join(p.read_bytes() for p in dataset_folder.rglob("*") if p.is_file())
    assert TOKEN.encode() not in everything
    for place in (str(dataset_folder.parent), WEIGHTS, str(Path.cwd())):
        assert place.encode() not in b"".join(files.values())
    assert "examples.jsonl" in output.out
    local = read_records(dataset_folder / "examples.jsonl", EXAMPLE)
    sent = read_records(tmp_path / "copy" / "examples.jsonl", EXAMPLE)
    assert [(e.id, e.candidate, e.evidence) for e in sent] == [(e.id, e.candidate, e.evidence) for e in local]
    assert {e.provenance.run for e in sent} == {"arms/agentic", "arms/cot"}


def test_the_card_has_funnel_intervals_licences_recipe_departures_and_citation(staged):
    text = (staged / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == ["odc-by", "mit"]
    for config in header["configs"]:
        assert all((staged / split["path"]).exists() for split in config["data_files"])
    for heading in ("made and kept", "Statistics", "Recipe", "Fidelity to the paper", "Limits", "Citation"):
        assert f"{heading}\n" in text
    assert "| weak\\_avg | 0.250 \\[" in text
    assert "| odc-by | 2 |" in text
    assert (staged / "CITATION.cff").read_text() == (REPO / "CITATION.cff").read_text()


def test_only_trajectories_with_an_example_are_published(dataset_folder, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(dataset_folder.parent, runs)
    (runs / "dataset/recipe.yaml").write_text(
        (dataset_folder / "recipe.yaml").read_text().replace(str(dataset_folder.parent), str(runs))
    )
    more = simple("refused", "what was never accepted?", RECIPES["agentic"], weak=8)
    with (runs / "agentic/trajectories.jsonl").open("ab") as file:
        file.write(TRAJECTORY.dump_json(more) + b"\n")
    stage(runs / "dataset", tmp_path / "out")
    sent = read_records(tmp_path / "out/arms/agentic/trajectories.jsonl", TRAJECTORY)
    assert [t.document_id for t in sent] == [f"d{i}" for i in range(6)]


def test_the_same_again_sends_nothing_and_a_change_becomes_a_mirror(staged, hub):
    for _ in range(2):
        publish.upload(staged, "me/data", DATASET, private=False)
        repo = hub.repos["dataset", "me/data"]
        assert (repo.commits, len(hub.objects)) == (1, 4)
    assert {name: data for name, data in repo.files.items() if name != ".gitattributes"} == {
        str(p.relative_to(staged)): p.read_bytes() for p in staged.rglob("*") if p.is_file()
    }
    repo.files["old/rows.parquet"] = b"rows that were withdrawn"
    publish.upload(staged, "me/data", DATASET, private=False)
    assert "old/rows.parquet" not in repo.files
    assert repo.commits == 2


def test_a_dry_run_lists_what_would_be_sent_and_asks_nobody(dataset_folder, hub, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert call(monkeypatch, dataset_folder, "--to", "me/data", "--dry-run") == ""
    output = capsys.readouterr().out
    assert "agentic/train.parquet" in output
    assert "nothing was uploaded" in output
    assert (dataset_folder / "publish" / "README.md").exists()
    assert not hub.requests


def write_model(folder: Path, *changes: str) -> Path:
    for name in ("model", "model_at_2"):
        (folder / name).mkdir(parents=True)
        (folder / name / "README.md").write_text("---\ntags: [autodata]\n---\n# A model\n")
        (folder / name / "model.safetensors").write_bytes(b"\0" * 64)
    recipe = load(GrpoRecipe, ["recipes/demo/grpo.yaml", f"dataset={folder}/d", f"run={folder}", *changes])
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    facts = {"inputs": {"kind": "grpo"}, "started": "t", "finished": "t", "steps": 3, "outputs": {"model": "x"}}
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder


def test_a_trained_model_arrives_with_its_card_and_recipe(hub, monkeypatch, tmp_path):
    assert call(monkeypatch, write_model(tmp_path / "grpo"), "--to", "me/model") == ""
    files = files_of(hub, "me/model", "model")
    assert {"README.md", "model.safetensors", "recipe.yaml", "manifest.json", "CITATION.cff"} <= set(files)
    assert {"model_at_2/README.md", "model_at_2/model.safetensors"} <= set(files)
    assert str(tmp_path).encode() not in files["recipe.yaml"]


@pytest.mark.parametrize(("changes", "key"), [((), None), (("evaluate_dataset=/home/me/d2",), "evaluate_dataset")])
def test_a_published_recipe_says_whether_its_watched_sets_are_of_another_data_set(tmp_path, changes, key):
    (tmp_path / "out").mkdir()
    stage(write_model(tmp_path / "grpo", *changes), tmp_path / "out")
    assert yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["evaluate_dataset"] == key


def write_evaluation(folder: Path, dataset: Path) -> Path:
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "a.eval").write_bytes(b"PK")
    (folder / "answers.jsonl").write_text("{}\n")
    domain = "name: skills, max_rounds: 1, preset: p, weak_attempts: 1, strong_attempts: 1"
    (folder / "recipe.yaml").write_text(f"run: {folder}\nlabel: mine\ndataset: {dataset}\ndomain: {{{domain}}}\n")
    facts = {"inputs": {"kind": "eval"}, "started": "t", "finished": "t", "label": "<b>"}
    facts["outputs"] = {"answers.jsonl": "h"}
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder


def test_an_evaluation_arrives_as_a_dataset_of_answers_and_logs(dataset_folder, hub, monkeypatch, tmp_path):
    assert call(monkeypatch, write_evaluation(tmp_path / "eval", dataset_folder), "--to", "me/logs") == ""
    files = files_of(hub, "me/logs")
    assert {"answers.jsonl", "logs/a.eval", "recipe.yaml", "manifest.json", "CITATION.cff"} <= set(files)
    assert str(tmp_path).encode() not in b"".join(files.values())
    assert b"<b>" not in files["README.md"].split(b"---\n")[2]


# ── what is refused ────────────────────────────────────────────────────────────────────────────


LONG = "Z9y8X7w6V5u4T3s2R1q0Zz"


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        ("github" + "_pat_" + LONG, "a key"),
        ("xo" + f"xb-{LONG}", "a key"),
        ("AK" + "IA0123456789ABCDEF", "a key"),
        ("AK" + "IA0123456789ABCDEFG", ""),
        ("AI" + "za" + "0123456789abcdefghijklmnopqrstuvwxy", "a key"),
        ("-----BEGIN OPENSSH PRIVATE " + "KEY-----", "a private key"),
        (f"Authorization: Bearer {LONG}", "a key in a header"),
        ("the bearer of this letter", ""),
        (f"https://host/v1?api-version=2&api_key={LONG}", "a key in a URL"),
        (f"https://host/file?X-Amz-Signature={LONG}", "a key in a URL"),
        (f"<a href='https://host/?a=1&amp;token={LONG}'>", "a key in a URL"),
        ("https://host/?key=short&page=3", ""),
        (f"https://host/?page={LONG}", ""),
        ("a desk-with-many-drawers-and-a-lamp", ""),
    ],
)
def test_what_has_the_shape_of_a_key_is_found_and_ordinary_words_are_not(tmp_path, text, leak):
    (tmp_path / "a.log").write_text(f"so {text} it is")
    assert find_leaks(tmp_path) == ([f"a.log: {leak}"] if leak else [])


@pytest.mark.parametrize("name", ["DB_PASSWD", "SIGNING_PASSPHRASE", "MY_CREDENTIALS", "GIT_PAT"])
def test_a_secret_of_the_environment_is_found_as_json_and_urls_write_it(tmp_path, monkeypatch, name):
    secret = 'pä"ss wo/rd&more'
    monkeypatch.setenv(name, secret)
    spellings = [secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret, safe=""),
                 urlencode({"x": secret})]  # fmt: skip
    for number, text in enumerate(spellings):
        (tmp_path / f"{number}.txt").write_text(text)
    assert find_leaks(tmp_path) == [f"{number}.txt: the value of {name}" for number in range(len(spellings))]


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        (TOKEN, "a key"),
        ("https://me:secret@example.org/repo.git", "a name and password in a URL"),
        ("plain-but-secret-value", "the value of SOME_API_KEY"),
        (str(Path.cwd()), "the path"),
    ],
)
def test_a_key_or_a_place_of_this_machine_is_never_sent(hub, monkeypatch, tmp_path, planted, kind):
    monkeypatch.setenv("SOME_API_KEY", "plain-but-secret-value")
    run = write_model(tmp_path / "grpo")
    (run / "model" / "notes.txt").write_text(f"made with {planted}")
    message = call(monkeypatch, run, "--to", "me/model")
    assert f"notes.txt: {kind}" in message
    assert planted not in message or kind == "the path"
    assert not hub.requests


def test_what_an_archive_holds_is_looked_at_too(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({"origin": "https://me:pw@host/x.git"}) * 9)
    assert find_leaks(tmp_path) == ["a.eval (header.json): a name and password in a URL"]


def test_a_log_of_inspect_is_looked_at_too(tmp_path):
    """Its files are compressed by zstd, which zipfile alone cannot read before Python 3.14."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, write_eval_log

    spec = EvalSpec(
        created="2026-11-29T10:00:00+00:00", task="t", model="m", dataset=EvalDataset(), config=EvalConfig()
    )
    spec.metadata = {"origin": "https://me:pw@host/x.git"}
    write_eval_log(EvalLog(eval=spec), str(tmp_path / "a.eval"), format="eval")
    assert "a.eval (header.json): a name and password in a URL" in find_leaks(tmp_path)


def test_an_archive_that_cannot_be_searched_is_named(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(mark) + offset] = 99  # a method that nobody knows
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(RunError, match=r"a\.zip: cannot be searched for keys"):
        find_leaks(tmp_path)


def test_paths_are_cut_down_to_names():
    value = {"/a/b": ["~/c/d", "runs/e", 3, "/", "and/or", "two\n/lines"], "k": {"x": None}}
    assert make_portable(value) == {"b": ["d", "runs/e", 3, "/", "and/or", "two\n/lines"], "k": {"x": None}}


def test_rows_of_unknown_licence_need_an_explicit_word(monkeypatch, tmp_path):
    run = write_dataset(tmp_path, monkeypatch, "publisher-specific-oa")
    message = call(monkeypatch, run, "--to", "me/data", "--dry-run")
    assert "2 of 12 rows come from documents of unknown licence: 'publisher-specific-oa' (2)" in message
    assert call(monkeypatch, run, "--to", "me/data", "--dry-run", "--allow-unknown-licence") == ""
    assert "license:\n- unknown\n- mit\n" in (run / "publish" / "README.md").read_text()


@pytest.mark.parametrize("is_there", [True, False])
def test_logs_with_texts_of_unknown_licence_need_an_explicit_word(monkeypatch, tmp_path, is_there):
    data = write_dataset(tmp_path, monkeypatch, "publisher-specific-oa") if is_there else tmp_path / "gone"
    if is_there:  # all rows are asked
        rows = (data / "examples.jsonl").read_text()
        (data / "examples.jsonl").write_text(rows.replace('"split":"train"', '"split":"test"'))
    run = write_evaluation(tmp_path / "eval", data)
    message = call(monkeypatch, run, "--to", "me/logs", "--dry-run")
    wanted = (
        "2 of 12 rows come from documents of unknown licence" if is_there else "which says the licences of the texts"
    )
    assert wanted in message
    assert call(monkeypatch, run, "--to", "me/logs", "--dry-run", "--allow-unknown-licence") == ""


def refusal(staged: Path, repo: str = "me/data") -> str:
    with pytest.raises(RunError) as raised:
        publish.upload(staged, repo, DATASET, private=False)
    return str(raised.value)


def test_without_a_token_it_says_how_to_give_one(staged, hub, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "set HF_TOKEN" in refusal(staged)
    assert not hub.requests


def test_a_token_that_is_not_the_owners_is_refused_and_not_shown(staged, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "someoneElsesTokenAltogether" * 2)
    message = refusal(staged)
    assert "refuses the token (401)" in message
    assert "someoneElses" not in message


@pytest.mark.parametrize(
    ("kind", "files", "message"),
    [
        ("model", {}, "me/data is a model on the Hub, but this run is a dataset"),
        ("dataset", {"precious.bin": b"1"}, "did not upload (precious.bin)"),
    ],
)
def test_a_repository_of_another_kind_or_with_other_content_is_left_alone(staged, hub, kind, files, message):
    hub.repos[kind, "me/data"] = Repo(kind, False, dict(files))
    assert message in refusal(staged)
    assert hub.repos == {(kind, "me/data"): Repo(kind, False, files)}


def test_an_empty_repository_that_was_made_on_the_web_is_filled(staged, hub):
    hub.repos["dataset", "me/data"] = Repo("dataset", True)
    publish.upload(staged, "me/data", DATASET, private=False)
    assert "README.md" in files_of(hub, "me/data")


@pytest.mark.parametrize("trouble", ["gone", "down"])
def test_a_hub_in_trouble_is_named(staged, hub, monkeypatch, trouble):
    hub.down = True
    if trouble == "gone":
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    message = refusal(staged)
    assert ("127.0.0.1:9 cannot be reached" if trouble == "gone" else "the Hub answered 503: down for") in message
    assert "same command again" in message


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "no run there; name the run folder"),
        ({"inputs": {"kind": "generate"}, "finished": "t"}, "is a run of kind generate; only runs of kind"),
        ({"inputs": {"kind": "dataset"}}, "not finished; finish it with python -m autodata.dataset"),
        ({"inputs": {"kind": "grpo"}}, "not finished; finish it with accelerate launch training/grpo.py"),
        ({"inputs": {"kind": "grpo"}, "finished": "t"}, "has no card; finish the training"),
    ],
)
def test_what_is_no_finished_run_names_the_command_that_helps(monkeypatch, tmp_path, manifest, message):
    run = tmp_path / "run"
    run.mkdir()
    if manifest:
        (run / "manifest.json").write_text(json.dumps(manifest))
    assert message in call(monkeypatch, run, "--to", "me/data", "--dry-run")


@pytest.mark.parametrize("name", ["data", "me/data/more", "me/../x y", ""])
def test_a_name_that_is_none_is_refused(dataset_folder, monkeypatch, name):
    assert "the name of a repository has the form owner/name" in call(monkeypatch, dataset_folder, "--to", name)


def test_a_folder_that_is_no_run_is_not_created(monkeypatch, tmp_path):
    assert "no such run" in call(monkeypatch, tmp_path / "nothing", "--to", "me/data")
    assert not (tmp_path / "nothing").exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(dataset_folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "publish").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="a link, not a folder"), fresh_folder(tmp_path / "run", "publish"):
        pass


# ── as its user runs it ────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_a_published_dataset_is_loaded_from_the_hub_as_it_was(dataset_folder, tmp_path):
    """Uses processes, because the hub's address is read at import. HF_HUB_OFFLINE does not stop the publishing."""
    import datasets

    run = tmp_path / "dataset"
    shutil.copytree(dataset_folder, run)
    with fake_hub(TOKEN) as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "home"),
        }

        def python(*command: str, offline: str) -> str:
            done = subprocess.run(
                [sys.executable, *command],
                env=environment | {"HF_HUB_OFFLINE": offline},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert done.returncode == 0, done.stdout[-3000:]
            return done.stdout

        output = python("-m", "autodata.publish", str(run), "--to", "me/data", offline="1")
        code = (
            f"import datasets\nfor arm in ('agentic', 'cot'):\n"
            f"    datasets.load_dataset('me/data', arm).save_to_disk(f'{tmp_path}/{{arm}}')"
        )
        python("-c", code, offline="0")
        download = "from huggingface_hub import snapshot_download as get\n"
        python("-c", f"{download}get('me/data', repo_type='dataset', local_dir='{tmp_path}/copy')", offline="0")
        checked = python("-m", "autodata.verify", str(tmp_path / "copy"), offline="1")
    assert "goes online anyway" in output
    assert TOKEN not in output + checked
    sent = {e.id: e for e in read_records(tmp_path / "copy" / "examples.jsonl", EXAMPLE)}
    for arm in ("agentic", "cot"):
        loaded = datasets.load_from_disk(str(tmp_path / arm))
        assert all(rows.features == parquet.declare() for rows in loaded.values())
        read = [to_example(row) for rows in loaded.values() for row in rows]
        assert {e.id: e for e in read} == {k: e for k, e in sent.items() if e.arm == arm}
