"""Tests that the register of the paper's rules names code and tests that exist, and that recipes tag their values."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from autodata import fidelity

REPO = Path(__file__).parent.parent
REGISTER = yaml.safe_load((REPO / "docs" / "fidelity.yaml").read_text())
TAGGED = sorted(
    [
        *REPO.glob("autodata/domains/*/domain.yaml"),
        *REPO.glob("recipes/models/one_*.yaml"),
        REPO / "recipes/models/paper.yaml",
        *(
            p
            for d in ("ingest", "cs", "legal", "science", "training", "meta")
            for p in REPO.glob(f"recipes/{d}/*.yaml")
        ),
    ]
)
# These keys are paths, not values of the paper.
OURS = {"include", "run", "name", "arms", "agentic", "cot", "path", "papers", "to", "dataset"}


@cache
def names_in(path: Path) -> set[str]:
    """Return the functions, classes and constants that a module defines at its top."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {t.id for t in targets if isinstance(t, ast.Name)} | {getattr(node, "name", "")}
    return names


@pytest.mark.parametrize("entry", REGISTER, ids=lambda e: e["rule"])
def test_an_entry_names_what_exists(entry):
    assert set(entry) <= {"rule", "paper", "says", "code", "tests", "ours", "one_reader"}
    assert all(entry[key] for key in ("rule", "paper", "says", "code", "tests"))
    for place in [*entry["code"], *entry["tests"]]:
        path, _, name = place.partition("::")
        assert (REPO / path).is_file(), place
        assert not name or name in names_in(REPO / path), place
    assert all(re.fullmatch(r"tests/test_\w+\.py::test_\w+", test) for test in entry["tests"])


def test_no_rule_is_listed_twice():
    rules = [entry["rule"] for entry in REGISTER]
    assert len(set(rules)) == len(rules) > 30


def values_of(node: yaml.Node, key: str = ""):
    """List every key with a single value, and its line."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from values_of(value, name.value)
    else:
        yield key, node.start_mark.line


@pytest.mark.parametrize("path", TAGGED, ids=lambda p: str(p.relative_to(REPO)))
def test_every_value_is_tagged_as_the_papers_or_chosen(path):
    lines = path.read_text().splitlines()
    untagged = [
        f"{key}, line {line + 1}"
        for key, line in values_of(yaml.compose(path.read_text()))
        if key not in OURS and not re.search(r"# (paper|chosen)\b", lines[line])
    ]
    assert not untagged


def test_the_page_is_up_to_date():
    assert fidelity.PAGE.read_text() == fidelity.render(), "run python -m autodata.fidelity"


def test_the_page_says_where_the_papers_facts_come_from_and_marks_what_one_account_reports():
    page = fidelity.render()
    assert page.count(f"What the paper says is {fidelity.PROVENANCE}") == 1
    marked = [entry for entry in REGISTER if "one_reader" in entry]
    assert [f"({fidelity.MARK} {entry['one_reader']})" in page for entry in marked] == [True] * len(marked) != []
    assert page.count(fidelity.MARK) == len(marked) + 1, "and the legend"


ONE_READER = {
    "recipes/cs/eval_agentic.yaml": ["evaluated"],
    "recipes/cs/eval_cot.yaml": ["evaluated"],
    "recipes/cs/grpo.yaml": ["save_models_at", "max_steps"],
    "recipes/meta/cs.yaml": ["baseline_draws"],
    "recipes/models/paper.yaml": ["replicas", "tensor-parallel-size"],
    "recipes/training/base.yaml": ["eval_steps"],
}


def test_recipes_tag_what_one_account_alone_reports():
    """The list holds values that one account of the paper reports; remove a value once a second account reports it."""
    tagged = {
        str(path.relative_to(REPO)): re.findall(r"^\s*([\w-]+):.*# paper, one reader: \S", path.read_text(), re.M)
        for path in TAGGED
    }
    assert {path: keys for path, keys in tagged.items() if keys} == ONE_READER


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"says": "Three attempts."}, "paper"),
        ({"says": "Three attempts.", "ours": "Four."}, "chosen"),
        ({"says": "Nothing.", "ours": "Four."}, "silent"),
        ({"says": "Nothing; reviewers miss it."}, "silent"),
    ],
)
def test_whose_a_rule_is_follows_from_its_entry(entry, kind):
    assert fidelity.tell_kind(entry) == kind


def test_every_rule_is_counted_under_a_heading():
    assert fidelity.count_kinds().total() == len(REGISTER) == sum(len(e) for _, e in fidelity.read_register())
