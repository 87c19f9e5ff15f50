"""Defines the result of a check of the doctor: one line, with the key or the file to change."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class Mark(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    mark: Mark
    check: str
    detail: str


ok = partial(Finding, Mark.OK)
warn = partial(Finding, Mark.WARN)
fail = partial(Finding, Mark.FAIL)
skip = partial(Finding, Mark.NOT_APPLICABLE)
