"""Read docs/fidelity.yaml, the register of the paper's rules, for cards and reports; as a command, write it as a page.

python -m autodata.fidelity   # write docs/fidelity.md: rule → paper → code → tests → departure
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

import yaml

from autodata import command
from autodata.config import REPO
from autodata.recipes.shipped import SHIPPED
from autodata.run.records import write_file
from autodata.stats.writing import DASH, write_table

_OTHER_STAGES = ("corpora", "meta", "cluster")  # these stages have reports of their own
REGISTER, PAGE = SHIPPED / "fidelity.yaml", REPO / "docs" / "fidelity.md"
_SECTION = re.compile(r"^# ── (.+?) ─+$")
_HEADER = ["rule", "origin", "paper", "code", "tests", "what we do"]
PROVENANCE = (
    "read from public accounts of its versions 1 to 3 and from its authors' project page, not from the PDF; before "
    "you rely on a value, check it in the PDF."
)
MARK, MARK_MEANS = "†", "only one account of the paper reports this."
_HEAD = f"""# Fidelity

`python -m autodata.fidelity` writes this page from [fidelity.yaml](fidelity.yaml); edit that file. A test checks that
all code and tests named here exist, and that this page is up to date.

- *paper*: the paper states the rule in full.
- *chosen*: the paper states the rule in part or contradicts itself, or we depart from it; the last column says what
  we do.
- *silent*: the paper says nothing; the rule is ours.

What the paper says is {PROVENANCE}
{MARK} {MARK_MEANS}
"""


@dataclass(frozen=True)
class Departure:
    """A rule that the paper leaves open or that this project follows differently, with the choice made here."""

    rule: str
    paper: str
    ours: str


def read_departures(domains: Sequence[str]) -> list[Departure]:
    """Read the departures that concern data of these domains, but not training, evaluation or other domains."""
    entries = yaml.safe_load(REGISTER.read_text(encoding="utf-8"))
    chosen = [e for e in entries if "ours" in e and _concerns(e["code"], domains)]
    return [Departure(e["rule"], e["paper"], " ".join(e["ours"].split())) for e in chosen]


def _concerns(places: Sequence[str], domains: Sequence[str]) -> bool:
    paths = [PurePosixPath(place.partition("::")[0]).parts for place in places]
    if named := {parts[2] for parts in paths if parts[:2] == ("autodata", "domains") and len(parts) > 3}:
        return not named.isdisjoint(domains)
    return any(parts[0] == "autodata" and parts[1] not in _OTHER_STAGES for parts in paths)


class RuleKind(StrEnum):
    """Who made a rule, by its entry: with `ours` it is a choice, with `Nothing` the paper is silent."""

    PAPER = "paper"
    CHOSEN = "chosen"
    SILENT = "silent"


def read_register() -> list[tuple[str, list[dict[str, Any]]]]:
    """Read the entries of the register, grouped by the section headings in the comments."""
    text = REGISTER.read_text(encoding="utf-8")
    starts = [(n, m[1]) for n, line in enumerate(text.splitlines()) if (m := _SECTION.match(line))]
    sections: list[tuple[str, list[dict[str, Any]]]] = [(title, []) for _, title in starts]
    nodes = yaml.compose(text).value
    for node, entry in zip(nodes, yaml.safe_load(text), strict=True):
        sections[sum(line < node.start_mark.line for line, _ in starts) - 1][1].append(entry)
    return sections


def tell_kind(entry: dict[str, Any]) -> RuleKind:
    if entry["says"].startswith("Nothing"):
        return RuleKind.SILENT
    return RuleKind.CHOSEN if "ours" in entry else RuleKind.PAPER


def count_kinds() -> Counter[RuleKind]:
    return Counter(tell_kind(e) for _, entries in read_register() for e in entries)


def summarize() -> str:
    """Summarize the register in one sentence, for a card."""
    counts = count_kinds()
    stated, chosen, silent = (counts[kind] for kind in RuleKind)
    return (
        f"The fidelity register has {counts.total()} rules. The paper states {stated} of them in full and is silent "
        f"on {silent}; the other {chosen} include a choice of ours."
    )


def render() -> str:
    """Write the register as a Markdown page."""
    parts = [_HEAD, summarize()]
    for title, entries in read_register():
        parts += [f"\n## {title.capitalize()}\n", write_table([_HEADER, *map(_list_cells, entries)])]
    return "\n".join(parts) + "\n"


def _list_cells(entry: dict[str, Any]) -> list[str]:
    mark = f" ({MARK} {entry['one_reader']})" if "one_reader" in entry else ""
    paper, links = f"{entry['paper']}: {entry['says']}{mark}", [_links(entry[key]) for key in ("code", "tests")]
    return [entry["rule"], tell_kind(entry), paper, *links, entry.get("ours", DASH)]


def _links(places: list[str]) -> str:
    return ", ".join(f"[{p.rpartition('::')[2].rpartition('/')[2]}](../{p.partition('::')[0]})" for p in places)


@command.report_errors()
def main() -> None:
    command.make_parser(__doc__).parse_args()
    write_file(PAGE, render())
    print(f"{PAGE}: {summarize()}")


if __name__ == "__main__":
    main()
