"""Fills a template to one self-contained HTML page: style and scripts are inside, and it loads nothing."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from autodata.loop.directing.recap import average
from autodata.report.charts import BOTTOM, LEFT, RIGHT, widths
from autodata.report.overview import words
from autodata.report.storyboard import read_question, read_scores, style_of
from autodata.run.folder import find_problem
from autodata.serving.measured import tell_outcomes
from autodata.stats import writing

_FOLDER = Path(__file__).parent
_COSTS = ("calls", "prompt_tokens", "completion_tokens", "call_seconds", "gpu_seconds")  # keys of a ledger
Facts = Mapping[str, Any]  # the contents of a manifest or of a file of results


def render(template: str, title: str, scripts: Sequence[str] = (), **facts: object) -> str:
    """Fill a template that extends page.j2. All `facts` are inserted as text, never as markup.

    The page's policy names the hashes of its own style and scripts, so a browser runs nothing else in it.
    """
    style, *sources = [_read(name) for name in ("style.css", "report.js", *scripts)]
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {' '.join(map(_hash, sources))}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    ended = list_outcomes(facts.get("manifest"), facts.get("results"), facts.get("is_cut_off_meant") is True)
    return page.render(
        **facts,
        title=title,
        policy=policy,
        maker=identify_maker(),
        style=Markup(style),
        scripts=[Markup(source) for source in sources],
        role_costs=list_costs(facts.get("manifest")),
        outcome_lines=ended,
    )


@cache
def identify_maker() -> str:
    """Identify the code that makes pages. Every page names it, so that a page of other code is seen to be outdated."""
    made = hashlib.sha256()
    for path in sorted(path for path in _FOLDER.rglob("*") if path.suffix in (".css", ".j2", ".js", ".py")):
        made.update(path.read_bytes())
    return f"Autodata {made.hexdigest()[:16]}"


def list_costs(manifest: object) -> list[list[object]]:
    """List what each role cost in all sessions of a run, from its ledger; nothing if it has none."""
    ledger = manifest.get("ledger") or {} if isinstance(manifest, Mapping) else {}
    return [[role, *map(cost.get, _COSTS), writing.write_usd(cost.get("nano_usd"))] for role, cost in ledger.items()]


def list_outcomes(manifest: object, results: object = None, is_cut_off_meant: bool = False) -> list[str]:
    """List how the calls of a run and the answers of an evaluation ended: a line for each role or set with failures.

    Manifests from before these counts existed yield no lines. Answers that were cut off are no failure if it is meant.
    """
    facts, sets = (given if isinstance(given, Mapping) else {} for given in (manifest, results))
    ledger = {role: cost.get("outcomes", {}) for role, cost in (facts.get("ledger") or {}).items()}
    answers = {n: entry["outcomes"] for n, entry in sets.items() if isinstance(entry, Mapping) and "outcomes" in entry}
    return tell_outcomes({**(facts.get("outcomes") or ledger), **answers}, is_cut_off_meant)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(_FOLDER / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "show": writing.write_number,
        "count": writing.write_count,
        "estimate": writing.write_estimate,
        "difference": writing.write_difference,
        "fraction": writing.write_decimal,
        "percent": writing.write_percent,
        "moment": lambda time: str(time)[:16].replace("T", " "),  # of a manifest, to the minute
        "sum_known": lambda values: f"{sum(value or 0 for value in values):g}",
    }
    environment.globals |= {"widths": widths, "left": LEFT, "right": RIGHT, "bottom": BOTTOM}
    environment.globals |= {"average": average, "read_question": read_question, "read_scores": read_scores}
    environment.globals |= {"style_of": style_of, "words": words}
    environment.globals |= {"find_problem": find_problem}
    return environment


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
