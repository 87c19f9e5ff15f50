"""Tests both sides of every check of the doctor, against servers that answer well and badly."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from autodata.doctor import data, endpoints, environment, forms
from autodata.doctor.examine import main
from autodata.doctor.finding import Mark
from autodata.recipes.models import Endpoint, Models, Price, RoleConfig, Sampling, Server
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import Run
from tests.helpers.commands import fails
from tests.helpers.fake_runs import demo_recipe, simple
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.imitations import answer
from tests.helpers.recipes import load_recipe, models_at
from tests.helpers.training_world import make_dataset

CS = ("recipes/cs/generate.yaml", "recipes/models/laptop.yaml")
SUPPORTED = Requirement('vllm<=0.31.0,>=0.22.0; extra == "vllm"')


@pytest.mark.parametrize(
    ("trl", "vllm", "mark"),
    [
        ("1.16.0", "0.31.0", Mark.OK),
        ("1.6", None, Mark.OK),
        ("1.5.9", "0.31.0", Mark.FAIL),
        ("1.16.0", "0.21.9", Mark.FAIL),
        ("1.16.0", "0.32.0", Mark.FAIL),
    ],
)
def test_versions_must_fit_each_other(trl, vllm, mark):
    assert environment.judge_versions(Version(trl), Version(vllm) if vllm else None, SUPPORTED).mark == mark


def test_the_installed_pair_fits():
    assert environment.check_versions(GrpoRecipe()).mark is Mark.OK


def test_a_key_is_there_or_named(monkeypatch):
    endpoint = Endpoint("m", api_key_env="SOME_KEY")
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert "SOME_KEY is not set" in environment.check_key("e", endpoint).detail
    monkeypatch.setenv("SOME_KEY", "secret")
    check = environment.check_key("e", endpoint)
    assert check.mark is Mark.OK and "secret" not in check.detail


@pytest.fixture
def cache(tmp_path):
    """The hub's cache with all of one model, and of another one only the first file that a download brings."""
    for name, file in (("cached", "model.safetensors"), ("begun", "config.json")):
        place = tmp_path / f"models--owner--{name}"
        (place / "snapshots" / "abc").mkdir(parents=True)
        (place / "snapshots" / "abc" / file).touch()
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("abc")
    return tmp_path


def look_for(cache, weights, offline, site=None):
    server = Server(weights, env={"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": offline})
    models = Models({"e": Endpoint("m", server=server)}, weak_solver=RoleConfig("e"))
    (finding,) = environment.check_weights(None, models, site or {})
    assert f"models.endpoints.e.server.weights={weights}" in finding.detail
    return finding.mark, finding.detail.partition(": ")[2]


@pytest.mark.parametrize("weights", ["embedded", ".", "s3://bucket/of/somebody", "owner/name:Q4", "owner/cached"])
def test_weights_that_are_here_or_that_only_vllm_can_find_are_no_problem(cache, weights):
    assert look_for(cache, weights, "1") == look_for(cache, weights, "0") == (Mark.OK, "")


def test_weights_that_are_not_here_can_be_fetched(cache):
    mark, detail = look_for(cache, "owner/name", "1")
    assert mark is Mark.FAIL and "unset HF_HUB_OFFLINE, which forbids the download, and fetch them with" in detail
    for offline, weights in (("", "owner/name"), ("0", "owner/begun")):
        mark, detail = look_for(cache, weights, offline)
        assert mark is Mark.WARN and f"cache; fetch them with `hf download {weights}`" in detail
    for site, expected in (({}, Mark.FAIL), ({"AUTODATA_SERVER_TIME": "1:00:00"}, Mark.WARN)):
        mark, detail = look_for(cache, "runs/no/model", "0", site)
        assert mark is expected and "no such folder" in detail


def test_the_model_of_a_training_is_looked_for_too():
    model, *_ = environment.check_weights(GrpoRecipe(model="runs/no/model"), Models(), {})
    assert model.mark is Mark.FAIL and "model=runs/no/model: no such folder" in model.detail


@pytest.mark.parametrize(("endpoint", "mark", "detail"), [
    (Endpoint("m", price=Price(0.15, 0.6, 0.075)), Mark.OK, "million tokens: input 0.15, output 0.6, cached 0.075"),
    (Endpoint("m", price=Price(0, 0), server=Server("w")), Mark.OK, "million tokens: input 0, output 0"),
    (Endpoint("m"), Mark.WARN, "models.endpoints.e.price is not set: unless the provider says"),
    (Endpoint("m", server=Server("w")), Mark.NOT_APPLICABLE, "the command starts the server itself"),
])  # fmt: skip
def test_an_endpoint_without_a_price_is_named(endpoint, mark, detail):
    check = environment.check_price("e", endpoint)
    assert check.mark is mark and detail in check.detail


@pytest.mark.parametrize(("limit", "mark"), [("0:04:20", Mark.OK), ("0:04:19", Mark.FAIL), ("soon", Mark.FAIL)])
def test_a_server_job_must_load_answer_and_drain(limit, mark):
    server = Server("w", weights_gb=5, ready_timeout_s=50)  # 100 s to load, 100 s to answer, 60 s to drain
    models = Models({"e": Endpoint("m", server=server, timeout_s=100)}, judge=RoleConfig("e"))
    (check,) = environment.check_wall_times(models, {"AUTODATA_SERVER_TIME": limit})
    assert check.mark is mark


def test_the_site_file_is_read_and_not_run(tmp_path, monkeypatch):
    monkeypatch.delenv("AUTODATA_SERVER_TIME", raising=False)
    site = tmp_path / "site.env"
    site.write_text("export AUTODATA_SERVER_TIME=1:00:00   # so long\nexport X=$(touch ran)\nrm -rf x\n")
    assert environment.read_site(site)["AUTODATA_SERVER_TIME"] == "1:00:00"
    assert "X" not in environment.read_site(site) or "X" in os.environ


def test_files_work_here_and_leave_nothing(tmp_path):
    assert environment.check_files(environment.find_place(str(tmp_path / "not" / "yet"))).mark is Mark.OK
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_files_fails(tmp_path):
    check = environment.check_files(tmp_path / "gone")
    assert check.mark is Mark.FAIL and "run=…" in check.detail


def test_a_file_system_without_locks_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("autodata.run.locks.fcntl.flock", lambda *_: None)
    assert "a lock that is already held" in environment.check_files(tmp_path).detail


@pytest.mark.parametrize(("gb", "mark"), [(0.9, Mark.FAIL), (1.0, Mark.WARN), (20.0, Mark.OK)])
def test_space(gb, mark, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=gb * 1e9))
    assert environment.check_space(Path("x")).mark is mark


def test_a_dataset_must_be_the_one_that_was_written(tmp_path):
    assert data.check_dataset(str(tmp_path))[0].mark is Mark.FAIL
    with Run(str(tmp_path), "dataset", {}, {}) as run:
        run.start()
        run.write(data.EXAMPLES, "")
        run.write(data.DECONTAMINATION, json.dumps({"files": {}}))
        run.finish([data.EXAMPLES, data.DECONTAMINATION])
        assert [f.mark for f in data.check_dataset(str(tmp_path))] == [Mark.OK, Mark.WARN]
        run.write(data.DECONTAMINATION, json.dumps({"files": {"b": "1"}}))
        assert [f.mark for f in data.check_dataset(str(tmp_path))] == [Mark.FAIL]
        run.finish([data.EXAMPLES, data.DECONTAMINATION])
        assert [f.mark for f in data.check_dataset(str(tmp_path))] == [Mark.OK, Mark.OK]


@pytest.mark.parametrize(("asked", "mark", "key"), [
    ((6, None), Mark.OK, "min_examples=6"), ((7, None), Mark.FAIL, "lower min_examples"),
    ((2, 6), Mark.OK, "train_examples=6"), ((2, 7), Mark.FAIL, "lower train_examples"),
])  # fmt: skip
def test_a_data_set_must_have_as_many_examples_as_the_recipe_asks_for(tmp_path, asked, mark, key):
    folder, (least, drawn) = make_dataset(tmp_path / "set", train=6), asked
    first, _ = data.check_examples(GrpoRecipe(dataset=str(folder), min_examples=least, train_examples=drawn))
    assert first.mark is mark and key in first.detail


@pytest.mark.parametrize(("arm", "mark"), [("agentic", Mark.FAIL), ("cot", Mark.OK)])
def test_what_another_data_set_holds_out_must_not_be_trained_on(tmp_path, arm, mark):
    """The first data set trains on all agentic documents of the second, whose cot documents are others."""
    trained, watched = make_dataset(tmp_path / "trained"), make_dataset(tmp_path / "watched", train=0)
    rows = (trained / data.EXAMPLES).read_text().replace("agentic-train", "agentic-test")
    (trained / data.EXAMPLES).write_text(rows)
    recipe = GrpoRecipe(dataset=str(trained), evaluate_dataset=str(watched), evaluate=[f"{arm}_test"])
    finding = data.check_watched(recipe)[-1]
    assert finding.mark is mark
    assert ("make dataset or evaluate_dataset from other documents" in finding.detail) == (mark is Mark.FAIL)


@pytest.mark.parametrize(
    ("right", "mark"), [(0, Mark.FAIL), (8, Mark.FAIL), (1, Mark.OK)], ids=["never", "always", "seldom"]
)
def test_a_weak_solver_must_be_neither_lost_nor_perfect(right, mark):
    recipe = demo_recipe()
    trajectories = [simple(f"d{n}", f"q{n}", recipe, weak=right) for n in range(20)]
    assert data.judge_weak_solver(trajectories, "r").mark is mark
    assert data.judge_weak_solver(trajectories[:19], "r").mark is Mark.NOT_APPLICABLE


def answers(script, **values):
    with fake_server(script) as server:
        domain = load_recipe("recipes/cs/generate.yaml", "recipes/models/laptop.yaml").domain
        return {f.check: f for f in asyncio.run(endpoints.check_answers(models_at(server.url), domain, ["fake"]))}


def good(body, count):
    if "What is the password?" in str(body["messages"]):
        return completion("marigold")
    if "response_format" not in body:
        return completion(f"The ship of seed {body.get('seed')}.")
    verdicts = [{"criterion": n, "reason": "r", "met": n == 1} for n in (1, 2)]
    return completion(json.dumps({"verdicts": verdicts}))


def test_good_answers():
    assert {f.mark for f in answers(good).values()} == {Mark.OK}


def cut_at(chars, tokens):
    """Script a server that reads only the end of a prompt and reports `tokens` prompt tokens."""

    def script(body, count):
        text = body["messages"][-1]["content"]
        read = body | {"messages": [{"role": "user", "content": text[-chars:]}]}
        reply = good(read, count) if "marigold" in text[-chars:] or "password" not in text else completion("no idea")
        if "marigold" in text and len(text) > chars:
            reply.body["usage"]["prompt_tokens"] = tokens
        return reply

    return script


@pytest.mark.parametrize(
    ("tokens", "message"), [(50_000, "but not its first word"), (2_050, "so it cut the prompt silently")]
)
def test_a_server_that_cuts_prompts_fails_whether_or_not_it_counts_what_it_read(tokens, message):
    check = answers(cut_at(16_000, tokens))["prompt of 200,000 characters"]
    assert (check.mark, message in check.detail, "domain.document_chars" in check.detail) == (Mark.FAIL, True, True)


def test_without_a_limit_the_longest_prompt_is_not_known():
    with fake_server(answer) as server:
        domain = load_recipe("recipes/legal/generate.yaml", "recipes/models/laptop.yaml").domain
        domain.document_chars = None
        models = models_at(server.url)
        said = endpoints.count_calls(models, domain, "fake")
        found = endpoints.check_server(models, domain, "fake")
        found += asyncio.run(endpoints.check_answers(models, domain, ["fake"]))
        assert len(server.requests) == said
    assert next(f for f in found if f.check == "long prompt").mark is Mark.NOT_APPLICABLE


def test_a_model_that_repeats_no_word_is_a_warning():
    dull = lambda body, count: completion("?") if "password" in str(body["messages"]) else good(body, count)  # noqa: E731
    assert answers(dull)["prompt of 200,000 characters"].mark is Mark.WARN


@pytest.mark.parametrize(("budget", "mark"), [(4_095, Mark.FAIL), (4_096, Mark.OK)])
def test_a_model_that_reasons_needs_room(budget, mark):
    thinks = lambda body, count: completion("The Ark sails.", reasoning="a ship, so")  # noqa: E731
    with fake_server(thinks) as server:
        models = models_at(server.url, sampling=Sampling(max_tokens=budget))
        domain = load_recipe("recipes/cs/generate.yaml", "recipes/models/laptop.yaml").domain
        findings = asyncio.run(endpoints.check_answers(models, domain, ["fake"]))
    room = next(f for f in findings if f.check == "budget of judge")
    assert room.mark is mark
    assert mark is Mark.OK or f"models.judge.sampling.max_tokens={budget}" in room.detail


def test_reasoning_that_leaves_no_room_names_the_key():
    checks = answers(
        lambda b, c: completion("", "length", reasoning="so") if "response_format" not in b else good(b, c)
    )
    assert checks["budget of weak_solver"].mark is Mark.FAIL
    assert "raise models.weak_solver.sampling.max_tokens" in checks["budget of weak_solver"].detail


def test_seeds_that_are_not_heard():
    same = answers(lambda b, c: good(b | {"seed": 0}, c))
    assert same["seeds"].mark is Mark.FAIL
    assert answers(lambda b, c: good(b | {"seed": c}, c))["seeds"].mark is Mark.WARN


@pytest.mark.parametrize(
    ("met", "mark"),
    [
        ([(True, False)] * 3, Mark.OK),
        ([None] * 3, Mark.FAIL),
        ([(True, False), None, (True, False)], Mark.WARN),
        ([(True, True)] * 3, Mark.WARN),
        ([(True, False), (True, True), (True, False)], Mark.WARN),
    ],
)
def test_a_judge_of_a_plain_case(met, mark):
    assert endpoints.assess_judge(met).mark is mark


def test_a_judge_that_is_never_read_fails():
    checks = answers(lambda b, c: completion("no json") if "response_format" in b else good(b, c))
    assert checks["judge"].mark is Mark.FAIL


def test_a_server_that_serves_another_model_is_named():
    with fake_server(good) as server:
        models = models_at(server.url)
        models.endpoints["fake"] = replace(models.endpoints["fake"], model="other")
        (check,) = endpoints.check_server(models, load_recipe(*CS).domain, "fake")
    assert check.mark is Mark.FAIL and "not other" in check.detail


def refuse(body, words):
    """Refuse a body in which these words stand, and answer any other."""
    is_refused = words in json.dumps(body)
    return Scripted({"error": {"message": "no"}}, 400) if is_refused else answer(body, 0)


@pytest.mark.parametrize(
    ("words", "failing"),
    [
        ("reference_answer", "schema 1 of challenger of fake"),
        ("leakage", "schema 2 of quality_verifier of fake"),
        ("verdicts", "schema 3 of judge of fake"),
        ("section", "move of orchestrator of fake"),
    ],
)
def test_each_schema_and_each_function_of_a_run_is_tried(words, failing):
    domain = load_recipe(*CS).domain
    with fake_server(lambda body, count: refuse(body, words)) as server:
        *fine, failed = endpoints.check_server(models_at(server.url), domain, "fake")
    assert (failed.mark, failed.check) == (Mark.FAIL, failing)
    assert {finding.mark for finding in fine} == {Mark.OK}


@pytest.mark.parametrize(("form", "count"), [("json_schema", 5), ("json_object", 1), ("none", 0)])
def test_only_forms_that_are_sent_are_tried(form, count):
    domain = load_recipe(*CS).domain
    trials = forms.list_trials(models_at("http://x/v1", structured_output=form), domain, "fake")
    assert [name for name in trials if name.startswith("schema")] == [
        f"schema {number} of {role}"
        for number, role in enumerate(("challenger", "quality_verifier", "judge", "analyser", "editor")[:count], 1)
    ]


@pytest.mark.parametrize("tool_choice", ["required", "auto", "none"])
@pytest.mark.parametrize(("move", "mark"), [('{"name": "give_up", "arguments": {}}', Mark.OK), ("Hm.", Mark.FAIL)])
def test_an_orchestrating_model_must_make_a_legal_move_in_any_form(tool_choice, move, mark):
    def script(body, count):
        return completion(move) if "Give up:" in str(body["messages"]) else answer(body, count)

    with fake_server(script) as server:
        models = models_at(server.url, tool_choice=tool_choice)
        found = {f.check: f for f in endpoints.check_server(models, load_recipe(*CS).domain, "fake")}
    assert found["move of orchestrator of fake"].mark is mark
    assert mark is Mark.OK or "orchestrator=fixed" in found["move of orchestrator of fake"].detail


@pytest.mark.parametrize(
    ("headers", "rate", "mark", "words"),
    [
        ({}, None, Mark.NOT_APPLICABLE, "names no limit"),
        ({"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}, None, Mark.OK, "500; where"),
        ({"anthropic-ratelimit-requests-limit": "50"}, 50.0, Mark.OK, "anthropic-ratelimit-requests-limit: 50"),
        ({"x-ratelimit-limit-requests": "50"}, 51.0, Mark.WARN, "requests_per_minute=51 is more"),
        ({"x-ratelimit-limit-tokens": "50"}, 51.0, Mark.OK, "limit-tokens: 50"),
    ],
)
def test_the_limits_that_a_provider_names_are_shown(headers, rate, mark, words):
    reply = completion("fine")
    with fake_server(lambda body, count: Scripted(reply.body, 200, headers)) as server:
        finding = endpoints.check_rate("fake", Endpoint("fake", base_url=server.url, requests_per_minute=rate))
    assert (finding.mark, words in finding.detail) == (mark, True), finding.detail


@pytest.mark.parametrize("values", [{}, {"body": {"seed": None}}, {"structured_output": "none"}])
@pytest.mark.parametrize("per_call", [0, 1])
def test_the_number_of_calls_is_said_beforehand(values, per_call):
    domain = replace(load_recipe(*CS).domain, criteria_per_call=per_call)

    with fake_server(answer) as server:
        models = models_at(server.url, **values)
        said = endpoints.count_calls(models, domain, "fake")
        found = endpoints.check_server(models, domain, "fake")
        found += asyncio.run(endpoints.check_answers(models, domain, ["fake"]))
        assert len(server.requests) == said, [f for f in found if f.mark is not Mark.OK]
        assert f"{said} to fake follow" in endpoints.tell_calls(models, domain, ["fake"]).detail


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "autodata.doctor", *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_says_one_line_a_check_and_ends_with_1_on_a_failure(tmp_path):
    with fake_server(good) as server:
        at = [f"models.endpoints.small.{key}" for key in ("base_url", "model")]
        wrong = doctor("recipes/demo/generate.yaml", f"run={tmp_path}", f"{at[0]}={server.url}", f"{at[1]}=other")
    assert wrong.returncode == 1
    assert any(line.startswith("fail") and "models.endpoints.small" in line for line in wrong.stdout.splitlines())
    assert "1 check failed" in wrong.stderr


def test_a_recipe_that_is_none_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["doctor", "recipes/no_such.yaml"])
    with fails("no_such.yaml"):
        main()
