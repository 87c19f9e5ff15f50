"""Defines what can go wrong with one HTTP request, and finds the words in which a server says so."""

import html
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

SHOWN_CHARS = 300  # how much an error message shows of a server's words
WITHIN = 200  # the status of an error that is sent as if all were well, and names no other status
_READ_CHARS = 4_000  # of an error page; what is wrong stands at its beginning
_MAX_DEPTH = 6
# The keys under which servers say what is wrong, most telling first.
_KEYS = ("error", "errors", "message", "msg", "detail", "details", "title", "description", "reason", "reasons", "loc",
         "code", "metadata", "raw", "innererror", "violations", "quotaId", "base_resp", "status_msg")  # fmt: skip
# The names of an error of the server itself, whose words may speak of anything that it was doing.
_SERVER_FAILED = re.compile(
    r"(?:internal|server|internal[ _-]?server|upstream|provider|engine|worker)[ _-]?(?:error|failure)", re.IGNORECASE
)
_INVISIBLE = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>")
_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title")
_TAG = re.compile(r"<[^<>]{0,500}>")


class Fault(Exception):
    """A request that got no reply of the right form. `name` is the name under which a retry is counted."""

    name = "bad_reply"


class BadShape(Fault, ValueError):
    """A reply with HTTP 200 that is not a chat completion."""


class ConnectionLost(Fault):
    """There was no connection, or it broke."""

    name = "connection"


class TimedOut(Fault):
    """The reply was not complete in time."""

    name = "timeout"


class Lost(Fault):
    """A call that its batch did not answer: the batch expired, was cancelled, or lost it."""

    name = "lost_in_batch"


class HttpError(Fault):
    """The endpoint answered with an error. `words` is what it says; `headers` have lower-case names."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None):
        self.status, self.text, self.words = status, text[:_READ_CHARS], read_words(text)
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        if 300 <= status < 400 and (target := self.headers.get("location")):
            self.words = f"redirected to {target}"
        self.name = f"http_{status}"
        super().__init__(self.words)


def read_status(error: Mapping[str, object]) -> int:
    """Read the HTTP status that stands within an error, as a number or a name; WITHIN if there is none."""
    parts = [error["error"]] if isinstance(error.get("error"), dict) else []
    codes = [str(part.get(key)) for part in (*parts, error) for key in ("code", "status", "status_code", "type")]
    status = next((int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)), WITHIN)
    return 500 if status == WITHIN and any(map(_SERVER_FAILED.fullmatch, codes)) else status


def read_words(text: str) -> str:
    """Find the words that say what is wrong, in JSON of any form or in an HTML page. Without any, return the text."""
    text = text[:_READ_CHARS]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _strip(text) if "<" in text else _join(text)
    return "; ".join(dict.fromkeys(filter(None, map(_join, _list_words(value, _MAX_DEPTH))))) or _join(text)


def _list_words(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value[:20] if depth else ():
            yield from _list_words(item, depth - 1)
    elif isinstance(value, dict):
        for key in _KEYS if depth else ():
            yield from _list_below(key, value.get(key), depth - 1)


def _list_below(key: str, value: object, depth: int) -> Iterator[str]:
    if key == "loc" and isinstance(value, list):  # the place in the request, as FastAPI writes it
        yield ".".join(map(str, value))
    elif key == "raw" and isinstance(value, str):  # a provider's reply within that of its gateway
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
        yield from _list_words(value, depth)
    else:
        yield from _list_words(value, depth)


def _strip(page: str) -> str:
    """Turn an HTML page into its title and its text."""
    title = _TITLE.search(page)
    text = _join(html.unescape(_TAG.sub(" ", _INVISIBLE.sub(" ", page))))
    heading = _join(html.unescape(title[1])) if title else ""
    return text if heading in text else f"{heading}; {text}".strip("; ")


def _join(text: str) -> str:
    return " ".join(text.split()).encode(errors="replace").decode()  # half a character cannot be stored or shown
