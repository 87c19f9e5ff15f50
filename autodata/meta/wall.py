"""Refuses edits of prompts that go beyond their text, and says why. No edit is ever executed."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jinja2 import TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from autodata.loop.checks.addressing import speaks_anew
from autodata.loop.prompts import CONTROL
from autodata.meta.genome import Genome, check_shape

_GROWTH = 2.0  # a prompt may grow to this many times the baseline's length
_SLACK = 500  # plus this many characters, for short prompts
_QUOTED_WORDS = 10  # an edit may not quote so many words in a row of a document that edits are measured on
# Nodes that make a template more than text with slots. A mutant may keep those of the baseline, but add none.
_ACTIVE = (nodes.For, nodes.Call, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Macro,
           nodes.CallBlock, nodes.Assign, nodes.AssignBlock, nodes.BinExpr, nodes.Filter,
           nodes.FilterBlock)  # fmt: skip
_ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.filters["seal"] = lambda text, name: text
_ENVIRONMENT.intercepted_binops = frozenset(_ENVIRONMENT.default_binop_table)  # parsing must not compute constants
_WORD = re.compile(r"\w+")


class Wall:
    """Checks edits against the baseline, the documents that they must not quote, and the names of the models."""

    def __init__(self, baseline: Genome, held_out: Iterable[str], models: Iterable[str]):
        """`held_out` are the texts of the validation and test documents, which edits are measured on."""
        self._baseline = baseline
        self._held_out = {run for text in held_out for run in _word_runs(text)}
        self._names = sorted({part for name in models for part in (name, name.rpartition("/")[2]) if part})

    def check(self, parent: Genome, child: Genome) -> list[str]:
        """List every reason to refuse an edit; empty if it may be tried."""
        if child.hash == parent.hash:
            return ["nothing is changed"]
        if strangers := set(child.prompts) - set(self._baseline.prompts):
            return [f"{min(strangers)} is not a prompt that may be changed"]
        faults = [f"{name}: {fault}" for name, text in child.prompts.items() for fault in self._check_text(name, text)]
        if (child.shape is None) != (self._baseline.shape is None):
            adds = "adds a shape of rubrics, which this domain does not have"
            faults.append(adds if child.shape else "removes the shape of rubrics")
        return faults + (check_shape(child.shape) if child.shape else [])

    def _check_text(self, name: str, text: str) -> Iterator[str]:
        original = self._baseline.prompts[name]
        if text == original:
            return
        try:
            before, after = _read(original), _read(text)
        except TemplateError as error:
            yield f"not a template ({str(error)[:100]})"
            return
        yield from _compare(before, after)
        if len(text) > _GROWTH * len(original) + _SLACK:
            yield f"{len(text)} characters, more than {_GROWTH:g} times the baseline's {len(original)}"
        if named := [n for n in self._names if n.lower() in text.lower() and n.lower() not in original.lower()]:
            yield f"names a model ({named[0]})"
        if speaks_anew(text, original):
            yield "addresses the solvers"
        if self._held_out & set(_word_runs(text)) - set(_word_runs(original)):
            yield f"quotes {_QUOTED_WORDS} words in a row of a document that edits are measured on"


@dataclass(frozen=True)
class _Template:
    """The parts of a template that an edit must keep, whatever it does to the words."""

    slots: set[str]
    blocks: set[str]
    active: Counter[str]  # counted, because a loop nested in itself would multiply
    control: set[str]  # texts that models read as control tokens


def _read(text: str) -> _Template:
    """Parse a template. Raises TemplateError."""
    tree = _ENVIRONMENT.parse(text)
    # A loop counts without its body, whose words may change; every other node counts in full.
    loops = [f"for {node.target!r} in {node.iter!r}" for node in tree.find_all(nodes.For)]
    active = Counter(loops + [repr(node) for node in tree.find_all(_ACTIVE) if not isinstance(node, nodes.For)])
    blocks = {block.name for block in tree.find_all(nodes.Block)}
    # `candidate.context` and `candidate` are two slots.
    slots = meta.find_undeclared_variables(tree) | {repr(node) for node in tree.find_all(nodes.Getattr)}
    return _Template(slots, blocks, active, {match[0] for match in CONTROL.finditer(text)})


def _compare(before: _Template, after: _Template) -> Iterator[str]:
    """Say what an edit changes besides words."""
    if dropped := before.slots - after.slots:
        yield f"drops the placeholder {_shorten(min(dropped))}"
    if unknown := after.slots - before.slots:
        yield f"has an unknown placeholder {_shorten(min(unknown))}"
    if after.control - before.control:
        yield "contains text that models read as control tokens"
    if before.blocks != after.blocks:
        yield "changes the blocks of the template"
    if added := after.active - before.active:
        yield f"adds template code: {_shorten(min(added))}"
    if unsealed := [a for a in before.active - after.active if "'seal'" in a]:
        yield f"removes a seal that separates material from instructions: {_shorten(min(unsealed))}"


def _shorten(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"


def _word_runs(text: str) -> Iterator[str]:
    """Yield every run of ten words of a text, in lower case."""
    words = [word.lower() for word in _WORD.findall(text)]
    for start in range(len(words) - _QUOTED_WORDS + 1):
        yield " ".join(words[start : start + _QUOTED_WORDS])
