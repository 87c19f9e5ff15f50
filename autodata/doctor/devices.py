"""Checks that what a recipe starts on this machine finds GPU builds, a driver, and devices with enough memory."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autodata.cluster.fleet import find_graders, find_served
from autodata.doctor.builds import ADVICE, find_version, list_cpu_builds
from autodata.doctor.finding import Finding, fail, ok, skip
from autodata.recipes.models import Server
from autodata.recipes.training import GrpoRecipe
from autodata.serving.costs import count_gpus
from autodata.stats.writing import write_count

DRIVER_NEEDED = 580  # for CUDA 13, as in requirements/install.sh
VLLM_SHARE = 0.92  # vLLM's default for gpu-memory-utilization
_SHARE = "gpu-memory-utilization"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_NVML = "nvidia-ml-py"
_BILLIONS = re.compile(r"(\d+(?:\.\d+)?)B\b")


@dataclass(frozen=True)
class Device:
    """One GPU that this process can use."""

    name: str
    memory_gb: float


@dataclass(frozen=True)
class Hardware:
    """What this machine has. `driver` is the version of the NVIDIA driver."""

    driver: str | None
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True)
class Need:
    """What one process of a recipe needs: the memory of each of its GPUs, of which it may use a share."""

    name: str
    gpus: int
    memory_gb: float  # at least; 0 if the recipe does not say
    share: float
    advice: str  # what to change if the memory is too small


def check_gpus(recipe: object, site: Mapping[str, str]) -> Iterator[Finding]:
    """Check builds, driver and devices for the servers and the training of a recipe."""
    served = find_served(recipe.models, find_graders(recipe))
    servers = {name: e.server for name, e in served.items() if e.server and not e.server.on_cpu}
    trains = isinstance(recipe, GrpoRecipe) and not recipe.trainer.get("use_cpu")
    if not servers and not trains:
        yield skip("GPU", "the recipe starts nothing on a GPU")
    elif builds := list_cpu_builds():
        yield fail("GPU builds", f"{' and '.join(builds)} cannot use a GPU: {ADVICE}")
    elif "AUTODATA_SERVER_TIME" in site:
        yield skip("GPU", "on Slurm, the devices are on the nodes")
    elif find_version(_NVML) is None:
        yield fail("driver", f"{_NVML} is not installed, so the driver cannot be asked; see requirements/gpu.txt")
    else:
        hardware = find_hardware()
        needs = [need_of_server(name, server) for name, server in servers.items()]
        if trains:
            needs += list_needs_of_training(recipe, len(hardware.devices))
        yield from judge_sharing(servers, trains)
        yield from judge_hardware(hardware, needs)


def find_hardware() -> Hardware:
    """Ask the driver and PyTorch, which honours CUDA_VISIBLE_DEVICES, what is there."""
    # Only the GPU environment has pynvml, and torch is slow to import.
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Hardware(None)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    properties = [torch.cuda.get_device_properties(number) for number in range(count)]
    devices = tuple(Device(each.name, each.total_memory / 1e9) for each in properties)
    return Hardware(pynvml.nvmlSystemGetDriverVersion(), devices)


def need_of_server(name: str, server: Server) -> Need:
    gpus, key = count_gpus(server), f"models.endpoints.{name}.server.flags.{_SHARE}"
    share = float(server.flags.get(_SHARE, VLLM_SHARE))
    return Need(name, gpus, server.weights_gb / gpus, share, f"raise {key}, or serve smaller weights")


def list_needs_of_training(recipe: GrpoRecipe, processes: int) -> list[Need]:
    """List what trainer and vLLM need at least, by the number of parameters in the model's name.

    The training itself computes this exactly, before its first step.
    """
    trainer, gigabytes = recipe.trainer, 2 * count_billions(recipe.model)  # bfloat16 weights
    share = float(trainer.get("vllm_gpu_memory_utilization", 0.3))  # TRL's default
    is_beside = bool(trainer.get("use_vllm")) and trainer.get("vllm_mode", "colocate") == "colocate"
    rest = 1 - share if is_beside and not trainer.get("vllm_enable_sleep_mode") else 1.0
    # Gradients, float32 weights and Adam's moments take 14 bytes a parameter, at best divided among the processes.
    optimizer = 0.0 if recipe.lora else 7 * gigabytes / max(1, processes)
    advice = "append recipes/training/one_gpu.yaml, or train on more GPUs"
    needs = [Need("training", 1, gigabytes + optimizer, rest, advice)]
    if is_beside:
        needs.append(Need("training's vLLM", 1, gigabytes, share, "raise trainer.vllm_gpu_memory_utilization"))
    return needs


def count_billions(model: str) -> float:
    """Return the billions of parameters in a model's name: 4 for Qwen3.5-4B; 0 if it has none."""
    match = _BILLIONS.search(model)
    return float(match[1]) if match else 0.0


def judge_hardware(hardware: Hardware, needs: Sequence[Need]) -> Iterator[Finding]:
    """Judge the driver, then the devices for each need; without driver or devices only the first problem."""
    wanted = f"CUDA 13 needs an NVIDIA driver of {DRIVER_NEEDED} or later"
    if hardware.driver is None:
        yield fail("driver", f"{wanted}, and there is none here: run this on a machine with a GPU")
    elif int(hardware.driver.split(".")[0]) < DRIVER_NEEDED:
        yield fail("driver", f"{wanted}, and here is {hardware.driver}: install a newer one")
    else:
        yield ok("driver", f"{hardware.driver}; {wanted}")
        if not hardware.devices:
            yield fail("GPU", f"no device is visible: see nvidia-smi and the environment variable {_VISIBLE}")
        else:
            yield from (judge_need(need, hardware.devices) for need in needs)


def judge_need(need: Need, devices: Sequence[Device]) -> Finding:
    check, smallest = f"GPU of {need.name}", min(devices, key=lambda device: device.memory_gb)
    available_gb = need.share * smallest.memory_gb
    memory = f"at least {need.memory_gb:.0f} GB of each" if need.memory_gb else "of each an unknown amount of memory"
    wanted = f"it needs {write_count(need.gpus, 'GPU')}, {memory}"
    there = f"here are {len(devices)}, of {smallest.memory_gb:.0f} GB ({smallest.name})"
    detail = f"{wanted}; {there}, of which it may use {need.share:.2f} = {available_gb:.0f} GB"
    if need.gpus > len(devices):
        return fail(check, f"{detail}: take a machine with more GPUs")
    if need.memory_gb > available_gb:
        return fail(check, f"{detail}: {need.advice}")
    return ok(check, detail)


def judge_sharing(servers: Mapping[str, Server], trains: bool) -> Iterator[Finding]:
    """Judge whether the servers that start on the same GPUs say so, and whether their shares fit together.

    A training uses the first GPU, and more with more processes.
    """
    shared = {name: server for name, server in servers.items() if server.shares_gpus}
    placed_first = [name for name, server in servers.items() if not server.shares_gpus and _VISIBLE not in server.env]
    placed_first += ["the training"] * trains
    if len(placed_first) + bool(shared) > 1:
        names = " and ".join([*placed_first, *shared])
        advice = f"set server.env.{_VISIBLE} of each server, or server.shares_gpus of those that fit one GPU"
        yield fail("GPUs of servers", f"{names} would all start on the first GPU: {advice}")
    if len(shared) > 1:
        total = sum(float(server.flags.get(_SHARE, VLLM_SHARE)) for server in shared.values())
        detail = f"{' and '.join(shared)} may use {total:.2f} of the same GPU's memory"
        yield ok("shared GPU", detail) if total < 1 else fail("shared GPU", f"{detail}: lower {_SHARE} of some")
