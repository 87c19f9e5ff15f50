"""Defines the result of a check of the doctor: one line, with the key or the file to change."""

from dataclasses import dataclass
from enum import StrEnum


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


def ok(check: str, detail: str) -> Finding:
    return Finding(Mark.OK, check, detail)


def warn(check: str, detail: str) -> Finding:
    return Finding(Mark.WARN, check, detail)


def fail(check: str, detail: str) -> Finding:
    return Finding(Mark.FAIL, check, detail)


def skip(check: str, detail: str) -> Finding:
    return Finding(Mark.NOT_APPLICABLE, check, detail)
