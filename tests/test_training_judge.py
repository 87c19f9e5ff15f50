"""Tests where a training finds its judge, and how its job shares GPUs and nodes between training and judge."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.cluster import shared
from autodata.cluster.fleet import ServerGroup
from autodata.cluster.training import job, placement
from autodata.cluster.training.job import JudgeEnded, Steps, run_steps
from autodata.cluster.training.placement import Launch, fill, place, plan_judges
from autodata.cluster.training.rank import write_launch
from autodata.config import RecipeError, load
from autodata.recipes.models import Endpoint, Models, RoleConfig, Server
from autodata.recipes.training import GrpoRecipe
from autodata.serving.leases import Lease, LeaseWatch, State, write_lease
from autodata.types import WrongCall

pytestmark = pytest.mark.slow

REPO = Path(__file__).parent.parent


def make_recipe(leases: Path | None = None, **server: object) -> GrpoRecipe:
    kimi = Endpoint("k", server=Server("w", **server), leases=str(leases) if leases else None)
    models = Models({"kimi": kimi, "weak": Endpoint("w", server=Server("w"))}, judge=RoleConfig("kimi"))
    return GrpoRecipe(run="runs/x", dataset="d", model="m", prompts_per_step=2, models=models)


def write(folder: Path, endpoint: str = "kimi", state: State = State.READY, replica: int = 0, beat: int = 1) -> Lease:
    lease = Lease(endpoint, replica, "7", "k", f"http://n1/{endpoint}{replica}/v1", state, beat, 0.0)
    write_lease(folder, lease)
    return lease


@pytest.fixture
def alive(tmp_path):
    """alive(lease) makes the beat of a lease grow until the test ends, as its server job does."""
    ending, threads = threading.Event(), []

    def grow(lease: Lease) -> None:
        while not ending.wait(0.02):
            lease = replace(lease, beat=lease.beat + 1)
            write_lease(tmp_path, lease)

    def start(lease: Lease) -> None:
        threads.append(threading.Thread(target=grow, args=(lease,)))
        threads[-1].start()

    yield start
    ending.set()
    for thread in threads:
        thread.join()


@pytest.fixture(autouse=True)
def fast_looks(monkeypatch):
    from autodata.training import run

    monkeypatch.setattr(run, "_LOOK_S", 0.05)
    monkeypatch.setattr(run, "_PATIENCE_FOR_OTHERS_S", 0.3)


def test_the_judge_of_the_job_is_taken(tmp_path, alive):
    from autodata.training.run import find_judges

    recipe = make_recipe(tmp_path)
    alive(write(tmp_path, "weak"))
    alive(write(tmp_path, "kimi"))
    find_judges(recipe)
    assert recipe.models.endpoints["kimi"].base_url == "http://n1/kimi0/v1"
    assert recipe.models.endpoints["weak"].base_url is None  # nothing calls it


def test_a_second_judge_is_found_as_well(tmp_path, alive):
    from autodata.training.run import find_judges

    recipe = make_recipe(tmp_path)
    recipe.models.endpoints["weak"].leases = str(tmp_path)
    recipe.second_judge = RoleConfig("weak")
    alive(write(tmp_path, "weak"))
    alive(write(tmp_path, "kimi"))
    find_judges(recipe)
    urls = {name: endpoint.base_url for name, endpoint in recipe.models.endpoints.items()}
    assert urls == {"kimi": "http://n1/kimi0/v1", "weak": "http://n1/weak0/v1"}


def test_a_lease_that_a_killed_job_left_behind_is_no_judge(tmp_path):
    from autodata.training.run import find_judges

    write(tmp_path)
    with pytest.raises(RecipeError, match=r"models\.endpoints\.kimi: no replica was ready after 0 s"):
        find_judges(make_recipe(tmp_path), patience_s=0.3)


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.ENDED])
def test_a_judge_that_does_not_get_ready_is_an_error(tmp_path, alive, state):
    from autodata.training.run import find_judges

    alive(write(tmp_path, state=state))
    with pytest.raises(RecipeError, match=r"models\.endpoints\.kimi: no replica was ready after 0 s"):
        find_judges(make_recipe(tmp_path), patience_s=0.3)


def test_all_replicas_are_waited_for_but_not_for_ever(tmp_path, alive):
    from autodata.training.run import find_judges

    alive(write(tmp_path, replica=1))
    start, recipe = time.monotonic(), make_recipe(tmp_path, replicas=2)
    find_judges(recipe, patience_s=60)
    assert 0.3 <= time.monotonic() - start < 30
    assert recipe.models.endpoints["kimi"].base_url == "http://n1/kimi1/v1"
    alive(write(tmp_path, replica=0))
    recipe = make_recipe(tmp_path, replicas=2)
    find_judges(recipe, patience_s=60)
    assert recipe.models.endpoints["kimi"].base_url == "http://n1/kimi0/v1"


def test_only_a_beat_that_changes_is_fresh(tmp_path):
    watch = LeaseWatch(tmp_path)
    write(tmp_path, beat=5)
    assert watch.look_fresh() == watch.look_fresh() == []
    write(tmp_path, beat=1)  # the same job was started again
    assert [lease.beat for lease in watch.look_fresh()] == [1]


@pytest.mark.parametrize("given", ["http://there/v1", None])
def test_outside_slurm_nothing_changes(given):
    from autodata.training.run import find_judges

    recipe = make_recipe()
    recipe.models.endpoints["kimi"].base_url = given
    find_judges(recipe)
    assert recipe.models.endpoints["kimi"].base_url == given


# ── where training and judge run ─────────────────────────────────────────────────────────────────


def group(gpus: int, replicas: int = 1, endpoint: str = "kimi") -> ServerGroup:
    return ServerGroup(endpoint, replicas, gpus, f"{endpoint}-{gpus}")


@pytest.mark.parametrize(
    ("groups", "training", "nodes", "seats", "gpus"),
    [
        ([], (1, 8), 1, [], 8),
        ([group(8)], (1, 8), 2, [(1, 0)], 8),
        ([group(8), group(8)], (2, 8), 4, [(2, 0), (3, 0)], 8),
        ([group(4)], (1, 4), 1, [(0, 4)], 8),  # judge and training share a node
        ([group(5)], (1, 4), 2, [(1, 0)], 5),
        ([group(2, 2), group(4)], (1, 8), 2, [(1, 0), (1, 4)], 8),  # two judges share one
        ([group(1)], (1, 1), 1, [(0, 1)], 2),  # one small judge beside a small training
        ([group(1), group(8)], (1, 4), 2, [(1, 0), (0, 4)], 8),  # the largest is placed first
        ([group(0, 3)], (1, 0), 1, [(0, 0)], 0),  # everything on CPUs
    ],
)
def test_the_judge_takes_gpus_that_the_training_leaves(groups, training, nodes, seats, gpus):
    placed = place(groups, *training, 8)
    assert (placed.nodes, placed.gpus) == (nodes, gpus)
    assert [(seat.node, seat.first_gpu) for seat in placed.seats] == seats


@pytest.mark.parametrize(("nodes", "training_nodes"), [(2, 1), (3, 2), (5, 4)])
def test_a_training_has_all_nodes_that_its_judge_leaves(nodes, training_nodes):
    assert fill([group(8)], nodes, 8, 8).training_nodes == training_nodes


def test_a_job_without_room_for_the_judge_says_how_many_nodes_it_needs():
    with pytest.raises(RecipeError, match=r"this job has 1 nodes .* need 2; .* sbatch --nodes=2"):
        fill([group(8)], 1, 8, 8)
    assert fill([group(8)], 2, 8, 8)


@pytest.mark.parametrize(
    ("file", "per_node", "gpus", "nodes"),
    [("zero2", 8, 8, 1), ("zero2", 4, 4, 2), ("zero2", 3, 3, 3), ("one_gpu", 8, 1, 1), ("cpu", 8, 0, 1)],
)
def test_accelerates_file_says_how_many_gpus_train(monkeypatch, file, per_node, gpus, nodes):
    monkeypatch.setenv(placement.ACCELERATE, f"recipes/accelerate/{file}.yaml")
    launch = Launch.choose(make_recipe())
    assert (launch.count_gpus(per_node), launch.count_nodes(per_node)) == (gpus, nodes)


def test_the_recipe_chooses_accelerates_file(monkeypatch):
    monkeypatch.delenv(placement.ACCELERATE, raising=False)
    recipe = make_recipe()
    assert Launch.choose(recipe).file == "recipes/accelerate/zero2.yaml"
    recipe.trainer = {"use_cpu": True}
    assert Launch.choose(recipe) == Launch("recipes/accelerate/cpu.yaml", 1, True)
    monkeypatch.setenv(placement.ACCELERATE, "recipes/accelerate/none.yaml")
    with pytest.raises(WrongCall, match=r"AUTODATA_ACCELERATE=recipes/accelerate/none\.yaml: No such file"):
        Launch.choose(recipe)


def test_the_papers_training_needs_a_node_and_its_judge_another():
    recipe = load(GrpoRecipe, ["recipes/cs/grpo.yaml", "recipes/models/paper.yaml"])
    (kimi,) = plan_judges(recipe, 8)
    assert (kimi.endpoint, kimi.replicas, kimi.gpus) == ("kimi", 1, 8)
    recipe.models.endpoints["kimi"].base_url = "http://there/v1"
    assert plan_judges(recipe, 8) == []


# ── the steps of the job ─────────────────────────────────────────────────────────────────────────


def make_steps(run: Path, *groups: ServerGroup) -> Steps:
    placed = place(groups, 2, 4, 8)
    return Steps(run, placed, [f"n{number}" for number in range(placed.nodes)])


def test_replicas_of_one_judge_have_numbers_and_gpus_of_their_own(tmp_path):
    first, second = group(2, 2), group(2, 2)
    steps = make_steps(tmp_path, first, second)
    lines = [" ".join(steps.write_judge(seat)) for seat in steps._placement.seats]
    assert all("--first-gpu=4" in line for line in lines)
    assert [line.split()[-2] for line in lines] == ["--first-replica=0", "--first-replica=2"]
    assert ["--nodelist=n0" in line for line in lines] == [True, False]


def test_the_training_is_told_where_its_judges_report(tmp_path):
    line = make_steps(tmp_path, group(8), group(8, endpoint="other")).write_training(Launch("f", 8, False), ["r.yaml"])
    assert "--nodelist=n0,n1" in line
    assert f"models.endpoints.kimi.leases={tmp_path}/serving/leases" in line
    assert f"models.endpoints.other.api_key_env={shared.VARIABLE}" in line


def test_a_node_starts_its_processes_under_its_own_rank():
    step = {"SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "40007"}
    _, *line = write_launch("f.yaml", 4, "n3", ["r.yaml", "run=a b"], step)
    assert line == [
        *["-m", "accelerate.commands.launch", "--config_file", "f.yaml", "--num_processes", "8"],
        *["--num_machines", "2", "--machine_rank", "1", "--main_process_ip", "n3", "--main_process_port", "20007"],
        *["training/grpo.py", "r.yaml", "run=a b"],
    ]
    assert "--num_processes" not in write_launch("f.yaml", 0, "n3", ["r.yaml"], step)
    assert "10.0.0.1" in write_launch("f.yaml", 0, "n3", ["r.yaml"], step | {"AUTODATA_ADDRESS": "10.0.0.1"})


class ScriptedSteps(Steps):
    """Runs commands of bash in place of srun, and keeps the order in which they end in a file."""

    def __init__(self, run: Path, judge: str, training: str):
        super().__init__(run, place([group(8)], 1, 8, 8), ["n1", "n2"])
        self._lines = {"judge": judge, "training": training}

    def write_judge(self, seat):
        return self._write("judge")

    def write_training(self, launch, arguments):
        return self._write("training")

    def _write(self, name: str) -> list[str]:
        says, run = f"echo {name} >> {self._run}/ended", self._run
        both = f"touch {run}/{name}.up; until [ -e {run}/judge.up -a -e {run}/training.up ]; do sleep 0.05; done"
        trap = f"trap '{says}; exit 9' TERM USR1"
        return ["bash", "-c", f"{trap}; {both}; {self._lines[name]} & wait $!; s=$?; {says}; exit $s"]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(job, "_POLL_S", 0.02)
    monkeypatch.setattr(job, "raise_signals", lambda: None)
    monkeypatch.setattr(job, "ignore_signals", lambda: None)


@pytest.mark.parametrize("status", [0, 3])
def test_the_judge_ends_after_the_training(tmp_path, quick, status):
    steps = ScriptedSteps(tmp_path, "sleep 60", f"(sleep 0.3; exit {status})")
    assert run_steps(steps, Launch("f", 8, False), []) == status
    assert (tmp_path / "ended").read_text().split() == ["training", "judge"]
    assert (tmp_path / "serving" / "owner").exists(), "the servers know that their job lives"


@pytest.mark.parametrize("status", [0, 1])
def test_a_judge_that_ends_first_is_an_error_whatever_it_says(tmp_path, quick, status):
    steps = ScriptedSteps(tmp_path, f"(sleep 0.3; exit {status})", "sleep 60")
    with pytest.raises(JudgeEnded, match="it goes on from the last checkpoint"):
        run_steps(steps, Launch("f", 8, False), [])
    assert (tmp_path / "ended").read_text().split() == ["judge", "training"]
    assert JudgeEnded.exit_code == 1


@pytest.mark.parametrize(("raised", "status"), [(job.Cancelled, 143), (job.Requeue, 0)])
def test_a_signal_ends_the_training_before_the_judge(tmp_path, quick, monkeypatch, raised, status):
    requeued = []
    monkeypatch.setattr(job.jobs, "requeue", requeued.append)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    steps = ScriptedSteps(tmp_path, "sleep 60", "sleep 60")

    def wait() -> int:
        while not all((tmp_path / f"{name}.up").exists() for name in ("judge", "training")):
            time.sleep(0.02)  # until both have set their traps
        raise raised

    steps.wait = wait
    assert run_steps(steps, Launch("f", 8, False), []) == status
    assert (tmp_path / "ended").read_text().split() == ["training", "judge"]
    assert requeued == (["7"] if raised is job.Requeue else [])


def test_outside_a_job_the_training_says_how_it_is_submitted(monkeypatch, capsys):
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    monkeypatch.setattr("sys.argv", ["job", "recipes/cs/grpo.yaml", "recipes/models/paper.yaml"])
    with pytest.raises(SystemExit) as raised:
        job.main()
    assert raised.value.code == 2
    assert "submit the training with bash slurm/train.sh" in capsys.readouterr().err
