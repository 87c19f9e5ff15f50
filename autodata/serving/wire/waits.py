"""Reads how long an endpoint asks to wait before the next request, and says how long to wait if it does not ask."""

import email.utils
import random
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from autodata.serving.wire.faults import HttpError

_LONGEST_BACKOFF_S = 60.0
_NOW_S = 1e9  # a number above this is a moment, in seconds or milliseconds since 1970, and not a duration
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|[hmsd])(?:[a-z]{0,10})", re.IGNORECASE)
_UNITS = {"ms": 0.001, "milli": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0, "d": 86400.0}
_SAID = re.compile(
    r"(?:try again|retry|wait|retrydelay)\W{1,4}(?:(?:in|after|for)\W{1,3})?"
    r"((?:\d+(?:\.\d+)?\s*(?:ms|milli|[hmsd])[a-z]{0,10}\s*){1,4})",
    re.IGNORECASE,
)
_RESETS = re.compile(r"(?:x-)?(?:\w+-)?ratelimit(?:-(requests|tokens|input-tokens|output-tokens))?-reset(?:-(\w+))?")


def backoff(tries: int) -> float:
    """Return the seconds to wait after so many failures in a row: a random share of a doubling time."""
    return random.uniform(0.0, min(_LONGEST_BACKOFF_S, 0.5 * 2.0 ** min(tries, 10)))


def read_wait(error: HttpError) -> float | None:
    """Return the seconds that an endpoint asks to wait, from its headers or its words; None if it does not say."""
    headers, now = error.headers, time.time()
    with suppress(ValueError, KeyError):
        return float(headers["retry-after-ms"]) / 1000
    with suppress(ValueError):
        return _read_after(headers)
    asked = [*_list_resets(headers, now), *_list_resets(_read_metadata(error.text), now)]
    if asked:
        return max(asked)
    said = _SAID.search(error.words) or _SAID.search(error.text)
    return _read_duration(said[1]) if said else None


def _read_after(headers: dict[str, str]) -> float:
    """Read Retry-After, seconds or a date. Raises ValueError if there is none."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    if not 0 <= seconds < _NOW_S:
        raise ValueError(f"no wait: {text}")
    return seconds


def _list_resets(headers: dict[str, str], now: float) -> Iterator[float]:
    """List the waits until each limit that is used up is reset."""
    for name, value in headers.items():
        if not _RESETS.fullmatch(name):
            continue
        remaining = headers.get(name.replace("-reset", "-remaining"), "0")
        if remaining.strip() not in ("", "0", "0.0"):
            continue  # another limit is the one that is used up
        if (wait := _read_reset(value.strip(), now)) is not None:
            yield wait


def _read_reset(value: str, now: float) -> float | None:
    """Read a moment (seconds or milliseconds since 1970, or a date) or a duration (12, "6m0s", "20ms")."""
    with suppress(ValueError):
        number = float(value)
        moment = number / 1000 if number > 100 * _NOW_S else number
        return None if number != number else max(moment - now if number > _NOW_S else number, 0.0)
    with suppress(ValueError):
        return max(datetime.fromisoformat(value).timestamp() - now, 0.0)
    return _read_duration(value)


def _read_duration(text: str) -> float | None:
    """Read a duration such as 1m30s; return its seconds, or None for another text and for no time at all."""
    parts = _PART.findall(text)
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in parts) or None


def _read_metadata(text: str) -> dict[str, str]:
    """Read the headers that a gateway repeats inside its reply (OpenRouter)."""
    pairs = re.findall(r'"([\w-]{1,60})"\s*:\s*"?([\w.:+-]{1,40})"?', text)
    return {name.lower(): value for name, value in pairs if "ratelimit" in name.lower()}
