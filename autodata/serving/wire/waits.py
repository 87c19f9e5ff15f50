"""Reads how long an endpoint asks to wait before the next request, and says how long to wait if it does not ask."""

import email.utils
import math
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from autodata.serving.wire.faults import HttpError

_LONGEST_BACKOFF_S = 60.0
_NOW_S = 1e9  # a number above this is a moment, in seconds or smaller units since 1970, and not a duration
_LATEST = 100 * _NOW_S  # as seconds since 1970 this is the year 5138
_UNITS = {"ms": 0.001, "milli": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|[hmsd])[a-z]{0,10}", re.IGNORECASE)
_DURATION = re.compile(r"(?:PT)?(?:\d+(?:\.\d+)?\s*(?:ms|milli|[hmsd])[a-z]{0,10}\s*){1,4}", re.IGNORECASE)
_SAID = re.compile(
    rf"(?:try again|retry|wait|retrydelay)\W{{1,4}}(?:(?:in|after|for)\W{{1,3}})?({_DURATION.pattern})", re.IGNORECASE
)
_NAMED = re.compile(r'"retry[_-]?after(?:_seconds)?"\s*:\s*"?([\w.:+-]{1,40})', re.IGNORECASE)  # within a reply
_RESETS = re.compile(
    r"(?:x-)?(?:\w+-)?rate-?limit(?:-(?:requests|tokens|input-tokens|output-tokens))?-reset(?:-[\w-]+)?"
)
_POLICY = re.compile(r"\b(r|t|remaining|reset)=(\d{1,12})")  # in the header RateLimit, which drafts of an RFC define


def backoff(tries: int) -> float:
    """Return the seconds to wait after so many failures in a row: a random share of a doubling time."""
    return random.uniform(0.0, min(_LONGEST_BACKOFF_S, 0.5 * 2.0 ** min(tries, 10)))


def read_wait(error: HttpError) -> float | None:
    """Return the seconds that an endpoint asks to wait, from its headers or its words; None if it does not say."""
    headers, now = error.headers, time.time()
    for name, unit in (("retry-after-ms", "ms"), ("retry-after", "")):
        if (wait := _read_wait(headers.get(name, "").strip() + unit, now)) is not None:
            return wait
    asked = [*_list_resets(headers, now), *_list_resets(_read_metadata(error.text), now)]
    if asked:
        return max(asked)
    if named := _NAMED.search(error.text):
        return _read_wait(named[1], now)
    said = _SAID.search(error.words) or _SAID.search(error.text)
    return _read_wait(said[1], now) if said else None


def _list_resets(headers: Mapping[str, str], now: float) -> Iterator[float]:
    """List the waits until each limit that is used up is reset."""
    for name, value in headers.items():
        if not _RESETS.fullmatch(name) or not _is_used_up(headers.get(name.replace("-reset", "-remaining"), "0")):
            continue
        if (wait := _read_wait(value.strip(), now)) is not None:
            yield wait
    for policy in re.split(r',\s*(?=")', headers.get("ratelimit", "")):
        parts = dict(_POLICY.findall(policy))
        reset = parts.get("t") or parts.get("reset")
        if reset and _is_used_up(parts.get("r") or parts.get("remaining", "0")):
            yield float(reset)


def _is_used_up(remaining: str) -> bool:
    try:
        return float(remaining.strip() or "0") <= 0
    except ValueError:
        return False


def _read_wait(text: str, now: float) -> float | None:
    """Read a duration (12, "6m0s", "20ms") or a moment (a date, or seconds and smaller units since 1970).

    A moment in the past asks for no wait; a negative duration and what is no time at all say nothing.
    """
    with suppress(ValueError):
        number = float(text)
        while _LATEST < number < math.inf:  # milliseconds, microseconds, nanoseconds
            number /= 1000
        return None if not number >= 0 else max(number - now, 0.0) if number > _NOW_S else number
    for read in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        with suppress(ValueError, OverflowError):
            moment = read(text)
            return max((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now, 0.0)
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text)) or None


def _read_metadata(text: str) -> dict[str, str]:
    """Read the headers that a gateway repeats inside its reply (OpenRouter)."""
    pairs = re.findall(r'"([\w-]{1,60})"\s*:\s*"?([\w.:+-]{1,40})"?', text)
    return {
        name.lower(): value for name, value in pairs if _RESETS.fullmatch(name.lower().replace("remaining", "reset"))
    }
