"""The register of the paper's rules, docs/fidelity.yaml, as far as it concerns what a run made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from autodata.config import REPO

_OTHER_STAGES = ("corpora", "meta", "cluster")  # whose runs have reports of their own
REGISTER = REPO / "docs" / "fidelity.yaml"


@dataclass(frozen=True)
class Departure:
    """A rule of the paper that says little or nothing, or is followed otherwise, and what was chosen."""

    rule: str
    paper: str
    ours: str


def read_departures(domains: Sequence[str]) -> list[Departure]:
    """What was chosen for data of these domains: rules of training, evaluation and other domains are left out."""
    entries = yaml.safe_load(REGISTER.read_text(encoding="utf-8"))
    return [Departure(entry["rule"], entry["paper"], " ".join(entry["ours"].split())) for entry in entries
            if "ours" in entry and _concerns(entry["code"], domains)]  # fmt: skip


def _concerns(places: Sequence[str], domains: Sequence[str]) -> bool:
    paths = [PurePosixPath(place.partition("::")[0]).parts for place in places]
    named = {parts[2] for parts in paths if parts[:2] == ("autodata", "domains") and len(parts) > 3}
    if named:
        return not named.isdisjoint(domains)
    return any(parts[0] == "autodata" and parts[1] not in _OTHER_STAGES for parts in paths)
