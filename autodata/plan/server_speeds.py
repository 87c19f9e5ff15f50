"""Chooses the speed of each endpoint of a plan: stated, fitted to the calls of a finished run, or assumed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from autodata.plan.speed import ReplicaSpeed, assume, fit_run, require_used
from autodata.recipes.models import Endpoint
from autodata.run.folder import find_runs, read_manifest
from autodata.run.records import RunError


def choose(
    endpoints: Mapping[str, Endpoint],
    stated: Mapping[str, ReplicaSpeed],
    like: Path | None,
    runs: Sequence[Path] = (),
) -> dict[str, ReplicaSpeed | None]:
    """Choose each speed: stated, else fitted to `like` or to the first of `runs` with it, else assumed, else unknown.

    Raises SpeedError if a speed is stated for an endpoint that is not used.
    """
    require_used(stated, endpoints)

    def find(name: str, endpoint: Endpoint) -> ReplicaSpeed | None:
        if name not in stated:
            fitted = (fit_run(like, endpoint.model) if like else None) or fit_latest(runs, endpoint)
            if fitted:
                return fitted
        caches = bool(endpoint.server and endpoint.server.flags.get("enable-prefix-caching"))
        chosen = stated.get(name) or assume(endpoint.model)
        return chosen and replace(chosen, caches=caches)

    return {name: find(name, endpoint) for name, endpoint in endpoints.items()}


def find_measured(folder: Path) -> list[Path]:
    """List the finished runs with stored replies below a folder, the latest first. A damaged one is left out."""
    ends: dict[Path, str] = {}
    for run in find_runs(folder):
        with suppress(RunError):
            end = (read_manifest(run) or {}).get("finished")
            if end and any(run.glob("journal*.sqlite")):
                ends[run] = str(end)
    return sorted(ends, key=ends.__getitem__, reverse=True)


def fit_latest(runs: Sequence[Path], endpoint: Endpoint) -> ReplicaSpeed | None:
    """Fit the speed of an endpoint to the first run that asked the same model on the same server; None without one."""
    for run in runs:
        fitted = _fit(run, endpoint.model) if serves_alike(run, endpoint) else None
        if fitted and fitted.step(1):  # calls that are all alike may seem to need no time for a token
            return fitted
    return None


@cache
def _fit(run: Path, model: str) -> ReplicaSpeed | None:
    return fit_run(run, model)


def serves_alike(run: Path, endpoint: Endpoint) -> bool:
    """True if a run asked the same model, served with the same settings."""
    return any(
        served.get("model") == endpoint.model and _read_server(served.get("server")) == _describe_server(endpoint)
        for served in _read_endpoints(run)
    )


@cache
def _read_endpoints(run: Path) -> list[dict[str, Any]]:
    try:
        recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
        return list(recipe["models"]["endpoints"].values())
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return []  # not the run of a recipe with models


def _read_server(server: dict[str, Any] | None) -> tuple[bool, dict[str, Any]] | None:
    return (bool(server.get("on_cpu")), dict(server.get("flags") or {})) if server else None


def _describe_server(endpoint: Endpoint) -> tuple[bool, dict[str, Any]] | None:
    return (endpoint.server.on_cpu, dict(endpoint.server.flags)) if endpoint.server else None
