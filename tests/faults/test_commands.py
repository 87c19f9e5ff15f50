"""Tests merge and dataset, killed before any of their changes to files and on a full disk."""

import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given

from autodata.run.folder import read_manifest, require_finished
from autodata.run.records import RunError
from tests.faults.conftest import SEED, scheduled
from tests.faults.driver import Driver, Order, Process
from tests.faults.scene import scene
from tests.faults.test_driver import LIGHT, SCHEDULES
from tests.helpers.fake_runs import demo_recipe, simple, write_run
from tests.test_dataset import question

PARTS = ("1/3", "2/3", "3/3")
NOT_OUTPUT = ("manifest.json", "progress.json")  # they hold times


def kill_again_and_again(start: Callable[[int], Process], chance: random.Random) -> Iterator[None]:
    """Kill a command at a later change to a file each time, until it ends by itself; yields after each kill."""
    at, kills = chance.randint(0, 2), 0
    while (status := (process := start(at)).wait()) == -signal.SIGKILL:
        yield
        at, kills = at + chance.randint(1, 8), kills + 1
    assert status == 0, process.output
    assert kills > 1


@scheduled
@given(schedule=SCHEDULES)
def test_shards_under_fire_are_merged_under_fire(driver, undisturbed, tmp_path_factory, schedule):
    chance = random.Random(schedule)
    with scene(tmp_path_factory.mktemp("shards"), "skills", driver, SEED, **LIGHT) as run:
        for part in PARTS:
            run.shard = part
            run.kill_half_way(chance.randint(1, 5))
        for part in PARTS:
            run.shard = part
            too_early = run.start("merge")
            assert too_early.wait() == 1
            assert f"{part.replace('/', '_of_')}: not finished" in too_early.output
            assert not (run.run / "manifest.json").exists()
            run.kill(run.start(), chance.randint(0, 20), chance.uniform(0, 0.05))
            run.finish()
        for _ in kill_again_and_again(lambda at: run.start("merge", dies_at=at), chance):
            with pytest.raises(RunError, match=r"no such run|not finished"):
                require_finished(str(run.run), "")
        run.check(undisturbed["skills"])


@pytest.mark.slow
def test_shards_are_merged_when_there_is_room_again(driver, undisturbed, tmp_path):
    """The disk has room for a journal, but not for all replies."""
    with scene(tmp_path, "skills", driver) as run:
        for part in PARTS:
            run.shard = part
            run.finish()
        full = run.start("merge", room=70_000)
        assert full.wait() == 1
        assert "is the disk full? free some space" in full.output
        assert "Traceback" not in full.output
        assert run.start("merge").wait() == 0
        run.check(undisturbed["skills"])


@dataclass(frozen=True)
class Command:
    """Runs autodata.dataset over two runs, always into one folder, because the written recipe contains its name."""

    driver: Driver
    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "dataset"

    def start(self, **weather: int | None) -> Process:
        arms = [f"arms.{arm}={self.folder / arm}" for arm in ("agentic", "cot")]
        arguments = ["recipes/demo/dataset.yaml", f"run={self.run}", *arms]
        return self.driver.start(Order(arguments, str(self.folder / "log"), "dataset", **weather))

    def outputs(self) -> dict[str, bytes]:
        """Read all files but those that a kill left unfinished."""
        wanted = (p for p in self.run.rglob("*") if p.name not in NOT_OUTPUT and p.suffix != ".new")
        files = sorted(p for p in wanted if p.is_file())
        return {
            str(p.relative_to(self.run)): re.sub(rb"\bMade [-\dT:+]+", b"Made then", p.read_bytes()) for p in files
        }


@pytest.fixture(scope="module")
def straight(driver, tmp_path_factory) -> tuple[Command, dict[str, bytes]]:
    """The command and its undisturbed outputs."""
    folder = tmp_path_factory.mktemp("arms")
    for arm in ("agentic", "cot"):
        recipe = demo_recipe(f"arm={arm}")
        write_run(folder / arm, recipe, *(simple(f"d{i}", question(i), recipe, arm) for i in range(4)))
    command = Command(driver, folder)
    assert command.start().wait() == 0, (folder / "log").read_text()
    outputs = command.outputs()
    assert {"examples.jsonl", "huggingface/README.md", "huggingface/cot/test.parquet"} < set(outputs)
    return command, outputs


@pytest.fixture
def command(straight) -> Command:
    shutil.rmtree(straight[0].run)
    (straight[0].folder / "log").unlink()
    return straight[0]


@scheduled
@given(schedule=SCHEDULES)
def test_a_dataset_killed_anywhere_is_the_same_in_the_end(straight, schedule):
    command, outputs = straight
    shutil.rmtree(command.run)
    for _ in kill_again_and_again(lambda at: command.start(dies_at=at), random.Random(schedule)):
        finished = (read_manifest(command.run) or {}).get("finished")
        assert not finished or command.outputs() == outputs
    assert command.outputs() == outputs


@pytest.mark.slow
@pytest.mark.parametrize("room", [8_000, 20_000])
def test_a_dataset_on_a_full_disk_is_the_same_when_there_is_room(straight, command, room):
    """The first size is too small for the examples, the second only for their Parquet files."""
    full = command.start(room=room)
    assert full.wait() == 1
    assert "free space" in full.output
    assert "Traceback" not in full.output
    assert command.start().wait() == 0
    assert command.outputs() == straight[1]
