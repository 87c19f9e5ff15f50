"""Tests the servers of a campaign without a cluster: the number of jobs, their commands, and the routing of calls."""

import os
import re
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from autodata.cluster import campaign, fleet, jobs, replica, shared
from autodata.cluster.campaign import Campaign, CampaignError
from autodata.cluster.fleet import find_served, limit_start, plan
from autodata.cluster.jobs import QueuedJob, SlurmError
from autodata.cluster.replica import Replica, count_requests
from autodata.cluster.resources import Site
from autodata.cluster.router import Router, RouterError
from autodata.cluster.serve import choose_gpus
from autodata.cluster.shared import OwnerWatch, write_beat
from autodata.config import RecipeError
from autodata.recipes.models import Canary, Endpoint, Models, RoleConfig, Server
from autodata.serving.costs import count_gpus
from autodata.serving.leases import State
from autodata.serving.measured import EndpointError
from autodata.serving.probes import Noise, check_canary, probe_replica
from autodata.types import Role
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.recipes import load_recipe

REPO = Path(__file__).parent.parent
GOLDEN = REPO / "tests" / "slurm" / "paper_jobs.txt"


def models_with(**servers: Server) -> Models:
    """Make models in which each endpoint serves one role."""
    endpoints = {name: Endpoint(f"{name}-model", server=server) for name, server in servers.items()}
    roles = dict(zip(("weak_solver", "strong_solver", "judge"), map(RoleConfig, endpoints), strict=False))
    return Models(endpoints, **roles)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Server("w", replicas=32), [(8, 1)] * 4),
        (Server("w", replicas=9), [(8, 1), (1, 1)]),
        (Server("w", replicas=2, flags={"tensor-parallel-size": 8}), [(1, 8)] * 2),
        (Server("w", replicas=5, flags={"tensor-parallel-size": 2}), [(4, 2), (1, 2)]),
        (Server("w", replicas=3, flags={"tensor-parallel-size": 3}), [(2, 3), (1, 3)]),
        (Server("w", flags={"data-parallel-size": 2, "pipeline-parallel-size": 2}), [(1, 4)]),
        (Server("w", replicas=3, on_cpu=True), [(3, 0)]),
    ],
)
def test_jobs_fill_nodes(server, expected):
    groups = plan(models_with(weak=server), Path("runs/x"), 8)
    assert [(g.replicas, g.gpus) for g in groups] == expected
    assert len({g.name for g in groups}) == len(groups)


def test_two_servers_that_share_gpus_get_no_jobs_of_their_own():
    sharing = Server("w", shares_gpus=True)
    with pytest.raises(RecipeError, match=r"models\.endpoints\.weak and models\.endpoints\.judge: .* slurm/run\.sh"):
        plan(models_with(weak=sharing, other=Server("w"), judge=sharing), Path("runs/x"), 8)
    assert [g.endpoint for g in plan(models_with(weak=sharing, other=Server("w")), Path("runs/x"), 8)] == [
        "weak",
        "other",
    ]


def test_a_replica_larger_than_a_node_is_an_error():
    with pytest.raises(RecipeError, match="a replica needs 16 GPUs, but a node has 8"):
        plan(models_with(weak=Server("w", flags={"tensor-parallel-size": 16})), Path("runs/x"), 8)


@pytest.mark.parametrize(
    ("policy", "replicas", "message"),
    [
        ("by_moon", 2, "one of cache_aware"),
        ("power_of_two", 1, "needs two replicas"),
        ("power_of_two", 2, None),
    ],
)
def test_a_policy_that_the_router_would_refuse_is_an_error_before_any_job(policy, replicas, message):
    models = models_with(weak=Server("w", replicas=replicas))
    models.endpoints["weak"].policy = policy
    if message is None:
        assert plan(models, Path("runs/x"), 8)
        return
    with pytest.raises(RecipeError, match=message):
        plan(models, Path("runs/x"), 8)


def test_only_servers_that_a_role_uses_and_that_do_not_run_are_started():
    models = models_with(weak=Server("w"), strong=Server("s"))
    models.endpoints["strong"].base_url = "http://there/v1"
    models.endpoints["spare"] = Endpoint("spare", server=Server("x"))
    assert set(find_served(models)) == {"weak"}


def test_names_tell_runs_and_servers_apart():
    def name(run: str, **server: object) -> str:
        return plan(models_with(weak=Server("w", **server)), Path(run), 8)[0].name

    assert name("runs/a") == name("runs/../runs/a")
    assert len({name("runs/a"), name("runs/b"), name("runs/a", flags={"dtype": "float16"})}) == 3
    assert re.fullmatch(r"autodata-[0-9a-f]{10}-weak-0", name("runs/a"))


def test_the_papers_jobs_are_those_that_an_operator_has_seen():
    """The cluster has six nodes of eight GPUs. `python -m tests.test_cluster` writes the file anew."""
    assert describe_paper() == GOLDEN.read_text()


def describe_paper() -> str:
    models = load_recipe("recipes/cs/generate.yaml", "recipes/models/paper.yaml").models
    site = Site.read({"AUTODATA_SERVER_OPTIONS": "--constraint=h200"})
    groups = plan(models, Path("runs/cs/agentic"), site.gpus_per_node)
    assert sum(g.replicas * g.gpus for g in groups) == 48
    text = fleet.describe(models, groups, Path("runs/cs/agentic"), site)
    return re.sub(r"autodata-[0-9a-f]{10}", "autodata-ID", text).replace(str(REPO), "REPO")


def test_time_to_get_ready_grows_with_the_weights():
    assert limit_start(Server("w", ready_timeout_s=600)) == 600
    assert limit_start(Server("w", ready_timeout_s=600, weights_gb=595)) == 6_550


def test_each_replica_sees_its_own_gpus():
    job = {"CUDA_VISIBLE_DEVICES": "0,1,4,5"}
    assert [choose_gpus(job, first, 2)["CUDA_VISIBLE_DEVICES"] for first in (0, 2)] == ["0,1", "4,5"]
    assert choose_gpus(job, 0, 0) == choose_gpus({}, 0, 2) == {}
    assert count_gpus(Server("w", on_cpu=True)) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 300), ("5:30", 330), ("01:00:00", 3_600), ("2-0", 172_800), ("1-02:03", 93_780), ("1-02:03:04", 93_784)],
)
def test_time_limits_as_sbatch_takes_them(text, seconds):
    assert jobs.parse_limit(text) == seconds


def test_a_time_limit_that_is_none_is_an_error():
    with pytest.raises(SlurmError, match="AUTODATA_SERVER_TIME=soon"):
        jobs.parse_limit("soon")


def test_a_time_limit_too_short_for_a_successor_is_an_error():
    models = models_with(weak=Server("w", ready_timeout_s=600))
    groups = plan(models, Path("runs/x"), 8)
    Campaign(Path("runs/x"), models, groups, Site(time_limit="00:12:30"))
    with pytest.raises(CampaignError, match="is submitted 720 s before"):
        Campaign(Path("runs/x"), models, groups, Site(time_limit="00:12:29"))


def test_a_job_is_submitted_and_found_and_errors_have_slurms_words(slurm):
    slurm("sbatch", 'echo "$@" >&2; echo "77;cluster"')
    assert jobs.submit(["sbatch", "--time=1", "s.sh"]) == "77"
    slurm("sbatch", "echo invalid partition >&2; exit 1")
    with pytest.raises(SlurmError, match=r"sbatch --time=1 s\.sh: invalid partition"):
        jobs.submit(["sbatch", "--time=1", "s.sh"])
    slurm(
        "squeue",
        "printf '7|RUNNING|2026-01-02T03:04:05|a\\n8|COMPLETING|N/A|a\\n9|PENDING|N/A|b\\n6|RUNNING|NONE|b\\n'",
    )
    end = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    assert jobs.find(["a", "b"]) == [
        QueuedJob("7", "a", end),
        QueuedJob("9", "b", float("inf")),
        QueuedJob("6", "b", float("inf")),
    ]
    assert jobs.find([]) == []


def test_a_controller_that_is_away_ends_nothing_for_ten_minutes(slurm, tmp_path, monkeypatch, capsys):
    slurm("squeue", "echo Unable to contact slurm controller >&2; exit 1")
    slurm("scancel", f'echo "$@" >> {tmp_path}/cancelled')
    monkeypatch.setattr(campaign, "_QUEUE_POLL_S", -1.0)
    models = models_with(weak=Server("w"))
    running = Campaign(tmp_path / "run", models, plan(models, tmp_path / "run", 8), Site())
    running._job_names = {"7": "autodata-x-weak-0"}
    for _ in range(campaign._MAX_SLURM_FAILURES):
        running.step()
    assert "Unable to contact" in capsys.readouterr().err
    with pytest.raises(SlurmError, match="Unable to contact"):
        running.step()
    running.stop()
    assert (tmp_path / "cancelled").read_text() == "7\n"


def test_servers_that_never_get_ready_are_not_asked_for_all_night(slurm, tmp_path, monkeypatch):
    slurm("squeue", "true")  # every job has ended by the next look
    slurm("sbatch", f"echo x >> {tmp_path}/submitted; wc -l < {tmp_path}/submitted")
    monkeypatch.setattr(campaign, "_QUEUE_POLL_S", -1.0)
    models = models_with(weak=Server("w"))
    running = Campaign(tmp_path / "run", models, plan(models, tmp_path / "run", 8), Site())
    with pytest.raises(CampaignError, match=r"4 server jobs .* ended before a replica was ready"):
        for _ in range(10):
            running.step()
    assert (tmp_path / "submitted").read_text().count("x") == 4


def test_a_campaign_is_gone_when_its_beat_stands_still(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(shared.time, "monotonic", lambda: clock[0])
    watch = OwnerWatch(tmp_path, patience_s=60)
    clock[0] += 60
    assert not watch.is_gone()  # it may not have begun
    write_beat(tmp_path, 1)
    assert not watch.is_gone()
    clock[0] += 61
    assert watch.is_gone()
    write_beat(tmp_path, 2)
    assert not watch.is_gone()


def test_the_key_of_a_run_is_made_once_and_read_by_its_owner_only(tmp_path, monkeypatch):
    for name in (shared.VARIABLE, "VLLM_API_KEY"):
        monkeypatch.setenv(name, "")
    shared.make_key(tmp_path)
    key = os.environ[shared.VARIABLE]
    shared.make_key(tmp_path)
    shared.require_key(tmp_path)
    assert len(key) > 40
    assert key == os.environ[shared.VARIABLE] == os.environ["VLLM_API_KEY"]
    assert (tmp_path / "serving" / "key").stat().st_mode & 0o777 == 0o600


def test_each_run_of_a_campaign_has_a_variable_for_its_key(tmp_path, monkeypatch):
    for name in (shared.VARIABLE, f"{shared.VARIABLE}_1"):
        monkeypatch.setenv(name, "")
    names = [shared.make_key(tmp_path / str(number), number) for number in (0, 1)]
    assert names == [shared.VARIABLE, f"{shared.VARIABLE}_1"]
    assert len({os.environ[name] for name in names} - {""}) == 2


def test_servers_that_no_command_asks_any_more_are_given_up(slurm, tmp_path, monkeypatch):
    slurm("squeue", "true")
    slurm("sbatch", f"echo x >> {tmp_path}/submitted; wc -l < {tmp_path}/submitted")
    slurm("scancel", f'echo "$@" >> {tmp_path}/cancelled')
    monkeypatch.setattr(campaign, "_QUEUE_POLL_S", -1.0)
    models = models_with(weak=Server("w"), judge=Server("j"))
    running = Campaign(tmp_path / "run", models, plan(models, tmp_path / "run", 8), Site())
    running.step()
    running.keep({"weak", "judge"})
    assert not (tmp_path / "cancelled").exists()
    running.keep({"judge"})
    assert (tmp_path / "cancelled").read_text() == "1\n"
    assert set(running.routers) == {"judge"}
    running._job_names.clear()  # its job goes on; the stand-in of squeue cannot say so
    running.step()
    assert (tmp_path / "submitted").read_text().count("x") == 3


# ── probes ───────────────────────────────────────────────────────────────────────────────────────


def probed(script, *roles: Role, **values: object) -> None:
    with fake_server(script) as server:
        flags = values.pop("flags", {})
        endpoint = Endpoint("fake", base_url=server.url, server=Server("w", flags=flags, **values))
        probe_replica(endpoint, roles)


def replies(text: str | None = "fine", **message: object):
    return lambda body, count: completion(text, **message)


CALL = [{"id": "c", "type": "function", "function": {"name": "go_on", "arguments": "{}"}}]
TOOLS = {"tool-call-parser": "hermes"}


@pytest.mark.parametrize(
    ("script", "roles", "values"),
    [
        (replies(), [Role.WEAK_SOLVER], {}),
        (replies('{"met": false}'), [Role.JUDGE], {}),
        (replies(tool_calls=CALL), [Role.ORCHESTRATOR], {"flags": TOOLS}),
        (replies(reasoning="so"), [Role.WEAK_SOLVER], {"flags": {"reasoning-parser": "qwen3"}}),
        (replies("It is PARIS."), [Role.WEAK_SOLVER], {"canary": Canary("q", "Paris")}),
    ],
)
def test_a_replica_that_can_do_what_its_roles_need(script, roles, values):
    probed(script, *roles, **values)


@pytest.mark.parametrize(
    ("script", "roles", "values", "message"),
    [
        (replies("met"), [Role.JUDGE], {}, "does not follow it: 'met'"),
        (replies('{"met": "yes"}'), [Role.JUDGE], {}, "does not follow it"),
        (replies(None), [Role.JUDGE], {}, "does not follow it: ''"),
        (replies(), [Role.ORCHESTRATOR], {"flags": TOOLS}, "check tool-call-parser"),
        (replies(), [Role.WEAK_SOLVER], {"flags": {"reasoning-parser": "qwen3"}}, "check reasoning-parser"),
        (replies("!!!!"), [Role.WEAK_SOLVER], {"canary": Canary("q", "Paris")}, "expected 'Paris'"),
        (lambda body, count: Scripted(status=500) if count > 1 else completion("x"), [Role.JUDGE], {}, "probe failed"),
    ],
)
def test_a_replica_that_only_looks_alive(script, roles, values, message):
    with pytest.raises(EndpointError, match=message):
        probed(script, *roles, **values)


# ── replicas ─────────────────────────────────────────────────────────────────────────────────────

FAKE = (
    "import sys; from tests.helpers.fake_server import FakeServer, completion\n"
    "FakeServer(lambda body, count: completion('x'), int(sys.argv[1])).serve_forever()"
)


def wait_for(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def make_replica(tmp_path, monkeypatch):
    """make_replica(code) starts a replica whose server is this Python code."""
    monkeypatch.setattr(replica, "_POLL_S", 0.02)
    monkeypatch.setattr(replica, "_CANARY_S", 0.1)
    replicas = []

    def make(code: str = FAKE, canary: Canary | None = None) -> Replica:
        command = lambda endpoint, host, port: [sys.executable, "-c", code, str(port)]  # noqa: E731
        monkeypatch.setattr("autodata.serving.vllm.command_line", command)
        server = Server("none", ready_timeout_s=20, canary=canary)
        replicas.append(Replica("weak", Endpoint("fake", server=server), [], tmp_path / "log", "127.0.0.1"))
        replicas[-1].start()
        return replicas[-1]

    yield make
    for one in replicas:
        one.stop()


def test_a_replica_is_ready_then_drained(make_replica):
    replica = make_replica()
    wait_for(lambda: replica.state == State.READY)
    assert httpx.get(f"{replica.url}/models").status_code == 200
    assert count_requests(replica.url) == 0
    replica.drain()
    wait_for(lambda: replica.state == State.ENDED)
    assert count_requests(replica.url) == 0  # nobody answers any more


@pytest.mark.slow
def test_a_server_that_dies_is_started_again(make_replica, tmp_path):
    once = f"import os; done = os.path.exists(r'{tmp_path}/once'); open(r'{tmp_path}/once', 'w'); done or exit(3)\n"
    replica = make_replica(once + FAKE)
    wait_for(lambda: replica.state == State.READY)


@pytest.mark.slow
def test_a_server_that_always_dies_is_given_up_with_its_reason(make_replica):
    replica = make_replica("print('no such weights'); exit(1)")
    wait_for(lambda: not replica.is_alive())
    assert replica.state == State.ENDED
    assert "no such weights" in replica.detail


NOISY = """
import sys
from pathlib import Path
from tests.helpers.fake_server import FakeServer, completion

starts, asked = Path({folder!r}, "starts"), Path({folder!r}, "asked")
is_first = not starts.exists()
starts.write_text("1" if is_first else "2")

def answer(body, count):
    asked.write_text(str(count))
    return completion("zq zq zq" if is_first and count in {wrong} else "It is Paris.")

FakeServer(answer, int(sys.argv[1])).serve_forever()
"""


@pytest.mark.parametrize(("wrong", "starts"), [([5, 6], "2"), ([5, 7], "1")])
@pytest.mark.slow
def test_a_replica_that_turns_to_noise_is_started_again(make_replica, tmp_path, wrong, starts):
    """It takes two wrong answers in a row, because a single one can be chance."""
    read = lambda name: (tmp_path / name).read_text() if (tmp_path / name).exists() else ""  # noqa: E731
    replica = make_replica(NOISY.format(folder=str(tmp_path), wrong=wrong), Canary("The capital of France?", "paris"))
    wait_for(lambda: read("starts") == starts and int(read("asked") or 0) > 8)
    assert read("starts") == starts
    assert replica.state == State.READY


@pytest.mark.parametrize(
    ("reply", "is_noise"),
    [(Scripted(status=503), False), (completion("Paris"), False), (completion("zq"), True),
     (Scripted({"choices": []}), True), (Scripted(b"not json"), True)],
)  # fmt: skip
def test_only_an_answer_can_be_noise(reply, is_noise):
    with fake_server(lambda body, count: reply) as server:
        endpoint = Endpoint("fake", base_url=server.url, server=Server("w", canary=Canary("Capital?", "paris")))
        with pytest.raises(Noise, match=server.url) if is_noise else nullcontext():
            check_canary(endpoint)
        assert len(server.requests) == 1 + is_noise


# ── router ───────────────────────────────────────────────────────────────────────────────────────


def ask(url: str, **headers: str) -> str:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    answer = httpx.post(f"{url}/chat/completions", json=body, timeout=20, headers=headers)
    return answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else str(answer.status_code)


@pytest.mark.slow
def test_calls_go_to_the_replicas_of_the_moment(tmp_path):
    router = Router("weak", "round_robin", tmp_path / "log")
    with fake_server(replies("a")) as first, fake_server(replies("b")) as second:
        try:
            router.follow([])
            assert not router.workers  # nothing to start for
            router.follow([first.url])
            assert ask(router.url) == "a"
            router.follow([first.url, second.url])
            assert {ask(router.url) for _ in range(4)} == {"a", "b"}
            router.follow([second.url])
            assert {ask(router.url) for _ in range(4)} == {"b"}
            assert httpx.get(f"{router.url}/models").json()["data"]
        finally:
            router.stop()


@pytest.mark.slow
def test_the_key_of_a_run_comes_through(tmp_path):
    router = Router("weak", "round_robin", tmp_path / "log")
    with fake_server(replies("a")) as server:
        server.key = "secret"
        try:
            router.follow([server.url])
            assert ask(router.url) == "401"
            assert ask(router.url, Authorization="Bearer secret") == "a"
        finally:
            router.stop()


@pytest.mark.slow
def test_a_router_that_died_is_started_again(tmp_path):
    router = Router("weak", "cache_aware", tmp_path / "log")
    with fake_server(replies("a")) as server:
        try:
            router.follow([server.url])
            router._process.kill()
            router._process.wait()
            router.follow([server.url])
            assert ask(router.url) == "a"
        finally:
            router.stop()


@pytest.mark.slow
def test_a_policy_that_does_not_exist_names_the_log(tmp_path):
    router = Router("weak", "by_moon", tmp_path / "router.log")
    with pytest.raises(RouterError, match=r"by_moon\) did not start; see .*router\.log"):
        router.follow(["http://127.0.0.1:9/v1"])


if __name__ == "__main__":
    GOLDEN.write_text(describe_paper())


@pytest.mark.slow
def test_the_jobs_of_evaluation_and_of_meta_optimisation_can_be_seen_first():
    for script, recipe in (("eval.sh", "recipes/cs/eval_base.yaml"), ("meta.sh", "recipes/meta/cs.yaml")):
        done = subprocess.run(
            ["bash", f"slurm/{script}", "--dry-run", recipe, "recipes/models/paper.yaml"],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        assert "--gpus-per-node=8" in done.stdout
        assert "kimi" in done.stdout
        assert ("397B" in done.stdout) == ("meta" in recipe), "an evaluation reserves what it asks, and nothing else"
        assert done.stdout.startswith("sbatch --cpus-per-task=")


@pytest.mark.slow
def test_an_array_of_shards_gives_each_a_run_folder_of_its_own():
    command = ["bash", "slurm/generate.sh", "--dry-run", "recipes/cs/generate.yaml", "recipes/models/paper.yaml",
               "documents.shard=%a/16", "run=runs/x"]  # fmt: skip
    done = subprocess.run(
        command,
        env=os.environ | {"SLURM_ARRAY_TASK_ID": "3"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    assert "runs/x/shards/3_of_16" in done.stdout
