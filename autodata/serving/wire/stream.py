"""Puts together a reply that an endpoint streams although nobody asked for a stream."""

import orjson

Json = dict[str, object]


def join_events(payload: bytes) -> Json | None:
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
            _add_calls(message.setdefault(key, []), value)  # type: ignore[arg-type]
        elif key != "role" and isinstance(value, str | list) and type(before) is type(value):
            message[key] = before + value  # type: ignore[operator]
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
        _add(call["function"], function)  # type: ignore[arg-type]
