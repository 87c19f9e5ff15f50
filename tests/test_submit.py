"""Tests what the jobs of slurm/ ask for, and how they are submitted. tests/slurm submits them to a real Slurm."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from autodata.cluster import commands, submit
from autodata.cluster.parts import plan_parts, split_recipes
from autodata.cluster.resources import Site, ask_for_cpus, ask_for_gpus, count_job_gpus, read_options
from autodata.cluster.submit import CAMPAIGNS, SERVING, Call, write_job, write_training
from autodata.config import RecipeError, load
from autodata.eval.campaign import ANSWERS_PER_REPLICA, fit_replicas
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.models import Endpoint, Models, Server
from autodata.types import WrongCall

pytestmark = pytest.mark.slow

REPO = Path(__file__).parent.parent
SCRIPTS = sorted(p.name for p in (REPO / "slurm").glob("*.sh") if p.name != "common.sh")
PAPER = "recipes/models/paper.yaml"
WHOLE = ["--gpus-per-node=8", "--cpus-per-task=64", "--exclusive", "--mem=0"]
PAPER_EVALUATIONS = [[f"recipes/cs/eval_{name}.yaml", PAPER] for name in ("base", "agentic", "cot")]


def write(script: str, *arguments: str, options: tuple[str, ...] = (), site: Site | None = None) -> list[str]:
    return write_job(Call(f"slurm/{script}.sh", options, arguments), site or Site())


# ── resources ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("gpus", "site", "options"),
    [
        (8, Site(), WHOLE),
        (7, Site(), ["--gpus-per-node=7", "--cpus-per-task=56", "--mem=448G"]),
        (4, Site(gpus_per_node=4), ["--gpus-per-node=4", "--cpus-per-task=32", "--exclusive", "--mem=0"]),
        (4, Site(gpus_per_node=4, whole_nodes=False), ["--gpus-per-node=4", "--cpus-per-task=32", "--mem=256G"]),
        (1, Site(cpus_per_gpu=12, memory_gb_per_gpu=100), ["--gpus-per-node=1", "--cpus-per-task=12", "--mem=100G"]),
    ],
)
def test_a_job_has_cpus_and_memory_for_its_gpus(gpus, site, options):
    assert ask_for_gpus(gpus, site) == options


def test_a_job_without_gpus_has_room_for_its_processes():
    assert ask_for_cpus(0) == ask_for_cpus(1) == ["--gpus-per-node=0", "--cpus-per-task=4", "--mem=16G"]
    assert ask_for_cpus(3) == ["--gpus-per-node=0", "--cpus-per-task=12", "--mem=48G"]


def test_servers_that_share_gpus_are_counted_once():
    shared = {
        "weak": Server("w", shares_gpus=True),
        "large": Server("w", {"tensor-parallel-size": 2}, shares_gpus=True),
    }
    assert count_job_gpus(shared) == 2
    assert count_job_gpus(shared | {"judge": Server("w")}) == 3
    assert count_job_gpus({"small": Server("w", on_cpu=True)}) == count_job_gpus({}) == 0


def test_the_site_file_overrides_what_is_computed():
    site = Site.read({"AUTODATA_CPUS_PER_GPU": "4", "AUTODATA_WHOLE_NODES": "0", "AUTODATA_MEMORY_GB_PER_GPU": ""})
    assert (site.cpus_per_gpu, site.whole_nodes, site.memory_gb_per_gpu) == (4, False, 64)
    assert read_options({"AUTODATA_TRAIN_OPTIONS": "--mem=1T --comment='a b'"}, "train") == (
        "--mem=1T",
        "--comment=a b",
    )
    with pytest.raises(WrongCall, match=r"AUTODATA_GPUS_PER_NODE=eight: write a whole number in slurm/site\.env"):
        Site.read({"AUTODATA_GPUS_PER_NODE": "eight"})


def test_what_the_site_and_the_call_ask_for_comes_last(monkeypatch):
    monkeypatch.setenv("AUTODATA_INGEST_OPTIONS", "--mem=4G")
    line = write("ingest", "recipes/ingest/ingest_own.yaml", options=("--mem=2G",))
    assert line == ["sbatch", "--mem=4G", "--mem=2G", "slurm/ingest.sh", "recipes/ingest/ingest_own.yaml"]


# ── training ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "values", "asked"),
    [
        ((), [], ["--nodes=2", *WHOLE]),
        (("--nodes=4", "--qos=x"), [], ["--nodes=5", *WHOLE, "--qos=x"]),
        ((), ["models.endpoints.kimi.base_url=http://there/v1"], ["--nodes=1", *WHOLE]),
        ((), ["trainer.use_cpu=true"], ["--nodes=1", *WHOLE]),  # only the judge has GPUs
        (
            (),
            ["trainer.use_cpu=true", "models.endpoints.kimi.server.on_cpu=true"],
            ["--nodes=1", "--gpus-per-node=0", "--cpus-per-task=8", "--mem=32G"],
        ),
        ((), ["models.endpoints.kimi.server.replicas=2"], ["--nodes=3", *WHOLE]),
        ((), ["second_judge={endpoint: strong, sampling: {max_tokens: 9}}"], ["--nodes=3", *WHOLE]),
    ],
)
def test_a_training_has_nodes_for_itself_and_its_judges(monkeypatch, options, values, asked):
    monkeypatch.delenv("AUTODATA_ACCELERATE", raising=False)
    line = write("train", "recipes/cs/grpo.yaml", PAPER, *values, options=options)
    assert line[1 : line.index("slurm/train.sh")] == asked


@pytest.mark.parametrize("nodes", ["1-2", "0", ""])
def test_the_number_of_training_nodes_is_a_number(nodes):
    with pytest.raises(WrongCall, match=f"--nodes={nodes}: write how many nodes train"):
        write("train", "recipes/cs/grpo.yaml", PAPER, options=(f"--nodes={nodes}",))


def test_the_steps_of_a_training_can_be_seen_first():
    call = Call("slurm/train.sh", (), ("recipes/cs/grpo.yaml", PAPER))
    judge, training = write_training(call, Site())[1]
    assert "--nodelist=NODE2" in judge
    assert "--nodelist=NODE1" in training


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["autodata.dataset", "recipes/cs/dataset.yaml"], []),
        (["autodata.merge", "recipes/cs/generate.yaml", PAPER], []),
        (["autodata.publish", "runs/x", "--to", "owner/name"], []),
        (
            ["autodata.generate", "recipes/cs/generate.yaml", "recipes/models/one_gpu.yaml"],
            ["--time=24:00:00", "--gpus-per-node=1", "--cpus-per-task=8", "--mem=64G"],
        ),
        (
            ["autodata.generate", "recipes/demo/generate.yaml"],
            ["--time=24:00:00", "--gpus-per-node=0", "--cpus-per-task=4", "--mem=16G"],
        ),
        (
            ["autodata.eval.question_types", "recipes/science/question_types.yaml", PAPER],
            ["--time=24:00:00", *WHOLE],
        ),
        (
            ["autodata.judge_audit", "recipes/judge_audit/judge_audit.yaml", PAPER],
            ["--time=24:00:00", *WHOLE],
        ),
    ],
)
def test_a_command_has_the_gpus_of_the_servers_that_it_starts(arguments, asked):
    assert write("run", *arguments) == ["sbatch", *asked, "slurm/run.sh", *arguments]


def test_servers_that_fit_no_node_need_jobs_of_their_own():
    with pytest.raises(WrongCall, match="would start servers on 17 GPUs, but a node has 8; use the script"):
        write("run", "autodata.generate", "recipes/cs/generate.yaml", PAPER)


def test_every_command_that_starts_servers_is_known():
    starts = {path for folder in ("autodata", "eval") for path in (REPO / folder).rglob("*.py")
              if " running(" in path.read_text() or "(running(" in path.read_text()}  # fmt: skip
    modules = {".".join(path.relative_to(REPO).with_suffix("").parts) for path in starts}
    modules = {f"autodata.{module.removeprefix('autodata.')}" for module in modules}  # eval stands beside autodata
    modules -= {"autodata.serving.vllm", "autodata.doctor.examine"}  # the definition, and --serve of a small check
    assert {module.removesuffix(".audit") for module in modules} == set(SERVING)


@pytest.mark.parametrize(("recipe", "cpus"), [("cs/generate", 5), ("cs/eval_base", 4), ("meta/cs", 5)])
def test_a_campaign_has_a_cpu_for_each_router(recipe, cpus):
    script = {"cs/generate": "generate", "cs/eval_base": "eval", "meta/cs": "meta"}[recipe]
    assert write(script, f"recipes/{recipe}.yaml", PAPER)[1:3] == [f"--cpus-per-task={cpus}", "--mem=16G"]


def test_the_tasks_of_an_array_are_submitted_as_they_are_written():
    line = write("generate", "recipes/cs/generate.yaml", PAPER, "documents.shard=%a/16", options=("--array=1-16",))
    assert line[-1] == "documents.shard=%a/16"
    with pytest.raises(RecipeError, match="nosuch"):
        write("generate", "recipes/cs/generate.yaml", PAPER, "nosuch=1")


def test_servers_are_started_by_campaigns_only():
    with pytest.raises(WrongCall, match="runs inside jobs only"):
        write("serve", "runs/x", "kimi", "1")


# ── several evaluations ──────────────────────────────────────────────────────────────────────────


def test_evaluations_share_a_judge_but_not_the_models_that_they_evaluate():
    first, second, third = plan_parts(PAPER_EVALUATIONS, 8)
    assert {g.endpoint for g in first.groups} == {"weak", "kimi"}
    assert {g.endpoint for g in second.groups} == {g.endpoint for g in third.groups} == {"evaluated"}
    assert second.borrowed == third.borrowed == {"kimi": 0}
    assert len({g.name for part in (first, second, third) for g in part.groups}) == 4 + 1 + 4 + 4


def test_a_judge_with_other_settings_is_another_server():
    base, other = (
        PAPER_EVALUATIONS[0],
        [*PAPER_EVALUATIONS[1], "models.endpoints.kimi.server.flags.max-model-len=99999"],
    )
    assert {g.endpoint for g in plan_parts([base, other], 8)[1].groups} == {"evaluated", "kimi"}


def test_graders_with_endpoints_of_their_own_have_server_jobs():
    (part,) = plan_parts([["recipes/legal/prbench_base.yaml", PAPER]], 8)
    assert {g.endpoint for g in part.groups} == {"weak", "kimi"}


def test_two_recipes_of_one_run_are_a_wrong_call():
    with pytest.raises(WrongCall, match=r"runs/cs/eval_base: two of the recipes have this run"):
        plan_parts([PAPER_EVALUATIONS[0], PAPER_EVALUATIONS[0]], 8)


def test_a_finished_run_needs_no_server_but_may_lend_one(monkeypatch):
    """A requeued campaign finds the judge under the name that it had before the first evaluation was finished."""
    from autodata.cluster import parts

    before = plan_parts(PAPER_EVALUATIONS, 8)
    monkeypatch.setattr(parts, "read_manifest", lambda run: {"finished": run.name == "eval_base"})
    first, second, _ = plan_parts(PAPER_EVALUATIONS, 8)
    assert [group for group in before[0].groups if group.endpoint == "kimi"] == [*first.groups]
    assert (second.groups, second.borrowed) == (before[1].groups, before[1].borrowed)
    monkeypatch.setattr(parts, "read_manifest", lambda run: {"finished": True})
    assert [part.groups for part in plan_parts(PAPER_EVALUATIONS, 8)] == [(), (), ()]


def test_recipes_are_separated_by_and():
    assert split_recipes(["a", "x=1", "--and", "b", "--and", "c"]) == [["a", "x=1"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("name", "answers", "expected"),
    [
        ("base", 1, {"weak": 1}),
        ("base", ANSWERS_PER_REPLICA, {"weak": 1}),
        ("base", ANSWERS_PER_REPLICA + 1, {"weak": 2}),
        ("base", 31 * ANSWERS_PER_REPLICA, {"weak": 31}),
        ("base", 31 * ANSWERS_PER_REPLICA + 1, {}),  # as many as the recipe has
        ("agentic", 600, {"weak": 5}),  # the trained model is served as the untrained one is
    ],
)
def test_a_small_evaluation_has_few_replicas(name, answers, expected):
    arguments = [f"recipes/cs/eval_{name}.yaml", PAPER]
    settings = fit_replicas(load(EvalRecipe, arguments), answers)
    assert settings == {f"models.endpoints.{key}.server.replicas": count for key, count in expected.items()}
    recipe = load(EvalRecipe, [*arguments, *(f"{key}={value}" for key, value in settings.items())])
    asked = recipe.models.endpoints[recipe.models.weak_solver.endpoint]
    assert asked.server.replicas == expected.get("weak", 32)


def test_a_policy_of_the_router_that_needs_two_replicas_has_them():
    recipe = load(EvalRecipe, [*PAPER_EVALUATIONS[0], "models.endpoints.weak.policy=power_of_two"])
    assert fit_replicas(recipe, 1) == {"models.endpoints.weak.server.replicas": 2}


def test_a_server_that_the_judge_asks_too_keeps_its_replicas():
    recipe = load(EvalRecipe, [*PAPER_EVALUATIONS[0], "models.judge.endpoint=weak"])
    assert fit_replicas(recipe, 1) == {}


class Servers:
    """Stands in for a campaign whose servers are always ready, and keeps what it is told."""

    def __init__(self, *endpoints: str):
        self.routers = {name: SimpleNamespace(url=f"http://{name}/v1", workers={"w"}) for name in endpoints}
        self.leases, self.kept, self.is_stopped = Path("leases"), [], False

    def step(self) -> None:
        pass

    def keep(self, endpoints: set[str]) -> None:
        self.kept.append(endpoints)

    def stop(self) -> None:
        self.is_stopped = True


def test_servers_are_kept_for_as_long_as_a_command_asks_them(monkeypatch):
    monkeypatch.setattr(commands, "_POLL_S", 0.02)
    endpoint = Models({"weak": Endpoint("w"), "kimi": Endpoint("k")})
    servers = Servers("weak", "kimi")
    lines = ["pass"], ["import time; time.sleep(1); 1 / 0"]
    weak, kimi = ({name: (servers, "KEY")} for name in ("weak", "kimi"))
    both = [commands.Command(["timeit", "-n1", "-r1", *line], endpoint, {}) for line in lines]
    for command, asked in zip(both, (weak, kimi), strict=True):
        command.start()  # without the settings of its servers, which timeit would run
        command.campaigns = asked
    assert commands.run_commands([servers], both) == 1
    assert {"kimi"} in servers.kept, "the servers of the first command were given up before the second had ended"
    assert servers.is_stopped


# ── scripts ──────────────────────────────────────────────────────────────────────────────────────


def call_script(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Call a script as on a machine without Slurm, and with a Python that must not be needed."""
    environment = {"PATH": "/usr/bin:/bin", "AUTODATA_PYTHON": "/nonexistent/python", **more}
    return subprocess.run(["bash", *words], cwd=REPO, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_says_how_it_is_called(script):
    helped, bare = call_script(f"slurm/{script}", "--help"), call_script(f"slurm/{script}")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert f"slurm/{script} " in helped.stdout or script == "serve.sh"
    assert "#SBATCH" not in helped.stdout
    assert (bare.returncode, bare.stdout) == (2, "")
    assert bare.stderr == f"error: slurm/{script} needs arguments\n{helped.stdout}"


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name not in ("serve.sh", "reproduce.sh")])
def test_each_script_also_says_what_it_needs_when_sbatch_is_given_it_directly(script):
    text = (REPO / "slurm" / script).read_text()
    assert "--cpus-per-task=" in text
    assert "--mem=" in text
    assert "--time=" in text
    assert f"\nenter {script.removesuffix('.sh')} " in text


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name not in ("serve.sh", "reproduce.sh")])
def test_options_alone_are_no_call_and_help_may_stand_behind_them(script):
    alone, asked = call_script(f"slurm/{script}", "--mem=2G"), call_script(f"slurm/{script}", "--mem=2G", "--help")
    assert (alone.returncode, asked.returncode, asked.stderr) == (2, 0, "")
    assert alone.stderr == f"error: slurm/{script} needs arguments\n{asked.stdout}"
    shown = call_script(f"slurm/{script}", "--mem=2G", "--dry-run", "x.yaml", AUTODATA_PYTHON="/bin/echo").stdout
    assert shown == f"-m autodata.cluster.submit --sbatch=--mem=2G --dry-run -- slurm/{script} x.yaml\n"


def test_a_job_says_that_sbatch_was_called_directly(tmp_path):
    """Slurm runs a copy of the script, under a name of its own."""
    copy = tmp_path / "slurm_script"
    copy.write_bytes((REPO / "slurm" / "run.sh").read_bytes())
    job = {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(REPO), "AUTODATA_PYTHON": "/bin/echo"}
    direct = call_script(str(copy), "m", "x", **job)
    submitted = call_script(str(copy), "m", "x", AUTODATA_SUBMITTED="1", **job)
    assert direct.stdout == submitted.stdout == "-m m x\n"
    assert "note: sbatch slurm/run.sh asks for the resources that stand in the script" in direct.stderr
    assert submitted.stderr == ""
    assert call_script("slurm/run.sh", "m", "x", **job).stderr == ""  # called inside a job


def test_the_modules_of_the_scripts_are_those_that_a_dry_run_asks():
    for name, module in CAMPAIGNS.items():
        assert f"-m {' '.join(module)} " in (REPO / "slurm" / f"{name}.sh").read_text()


def test_a_submitted_job_is_named_as_sbatch_names_it(slurm, monkeypatch, tmp_path, capsys):
    slurm("sbatch", 'echo "Submitted batch job 7"')
    monkeypatch.chdir(tmp_path)
    words = ["submit", "--sbatch=--qos=x", "--", "slurm/run.sh", "autodata.publish", "runs/x", "--to", "owner/name"]
    monkeypatch.setattr("sys.argv", words)
    submit.main()
    assert capsys.readouterr().out == "Submitted batch job 7\n"
    assert (tmp_path / "runs").is_dir()
