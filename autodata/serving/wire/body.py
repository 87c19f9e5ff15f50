"""Turns what is sent into bytes, and the bytes of a reply into JSON, also if an endpoint streams it unasked."""

import json
from typing import Any

import orjson

from autodata.serving.wire.faults import SHOWN_CHARS, BadShape, HttpError, read_status, read_words

_REPLIES = {"choices", "data", "id"}  # what no error holds at its top, unless it has an "error"
Json = dict[str, Any]


def encode(body: Json) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # half a character in a text, or a number of more than 64 bits
        return json.dumps(body).encode()


def decode(payload: bytes) -> Json:
    """Read the JSON object of a reply. Raises BadShape, or HttpError for an error that was sent with HTTP 200."""
    try:
        value = orjson.loads(payload)
    except ValueError:
        value = _decode_slowly(payload)
    if isinstance(value, list):  # a list of models, as some servers send it
        return {"data": value}
    if not isinstance(value, dict):
        raise BadShape(f"the reply is not a JSON object: {str(value)[:SHOWN_CHARS]!r}")
    if _is_error(value):
        raise HttpError(read_status(value), encode(value)[:20_000].decode(errors="replace"))
    return value


def _is_error(value: Json) -> bool:
    """True for an error that an endpoint sends although its status says that all is well."""
    if value.get("choices") or value.get("data"):
        return False
    outcome = value.get("base_resp")  # MiniMax
    if value.get("error") or (isinstance(outcome, dict) and outcome.get("status_code")):
        return True
    return not _REPLIES & value.keys() and any(value.get(key) for key in ("errors", "detail", "message", "msg"))


def _decode_slowly(payload: bytes) -> object:
    """Read what orjson refuses and other parsers accept: half a character, a stream of events. Raises BadShape."""
    try:
        return _join_events(payload) or json.loads(payload)
    except (ValueError, RecursionError) as error:
        words = read_words(payload[:20_000].decode(errors="replace"))[:SHOWN_CHARS]
        raise BadShape(f"the reply is not JSON: {words!r}") from error


def _join_events(payload: bytes) -> Json | None:
    """Return the chat completion of a stream of events, or the error in it; None if there is no event.

    A stream that was cut off has no finish_reason, so it is no answer.
    """
    joined: Json = {}
    message: Json = {}
    choice: Json = {"index": 0, "message": message}
    for event in _list_events(payload):
        if event.get("error"):
            return {"error": event["error"]}
        joined |= {key: value for key, value in event.items() if value is not None}
        choices = event.get("choices")
        for part in choices if isinstance(choices, list) else ():
            if isinstance(part, dict) and part.get("index", 0) == 0:
                _add(message, part.get("delta") or part.get("message"))
                choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
    return joined | {"choices": [choice]} if joined else None


def _list_events(payload: bytes) -> list[Json]:
    """List the objects of a stream. Raises ValueError if one of them is no JSON, as after a broken connection."""
    lines = (line.removeprefix(b"data:").strip() for line in payload.splitlines() if line.startswith(b"data:"))
    events = [orjson.loads(line) for line in lines if line and line != b"[DONE]"]
    return [event for event in events if isinstance(event, dict)]


def _add(message: Json, delta: object) -> None:
    """Add a piece of a message: texts and lists are continued, calls are joined by their index."""
    for key, value in delta.items() if isinstance(delta, dict) else ():
        before = message.get(key)
        if key == "tool_calls" and isinstance(value, list):
            _add_calls(message.setdefault(key, []), value)
        elif key != "role" and isinstance(value, str | list) and type(before) is type(value):
            message[key] = before + value
        elif value is not None:
            message[key] = value


def _add_calls(calls: list[Json], pieces: list[object]) -> None:
    for piece in pieces:
        if not isinstance(piece, dict) or not isinstance(function := piece.get("function"), dict):
            continue
        index = piece.get("index", len(calls))
        call = next((call for call in calls if call["index"] == index), None)
        if call is None:
            calls.append(call := {"index": index, "function": {}})
        _add(call["function"], function)
