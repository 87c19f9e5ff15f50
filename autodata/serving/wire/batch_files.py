"""Reads what a Batch API says of a batch, and keeps the record of the batches that were sent."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import orjson

from autodata.serving.journal import explain
from autodata.serving.wire.body import Json, decode, encode
from autodata.serving.wire.faults import BadShape, Fault, HttpError, Lost, read_words

# How providers also write the end of a batch.
_ENDS = {"canceled": "cancelled", "success": "completed", "succeeded": "completed", "ended": "completed",
         "timeout_exceeded": "expired", "error": "failed"}  # fmt: skip
BATCHES = ".batches.jsonl"  # how the name of a file of records ends
_ID = re.compile(r"(?!.*\.\.)[\w.:=+/-]{1,500}")  # it becomes a part of a URL


class Status(StrEnum):
    """The states of a batch that the code tells apart."""

    UNDER_WAY = "under way"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"  # refused as a whole, so nothing in it was answered or paid for

    @property
    def is_end(self) -> bool:
        return self is not Status.UNDER_WAY

    @property
    def is_refused(self) -> bool:
        return self is Status.FAILED


@dataclass
class SentBatch:
    """A batch whose file is uploaded; it has an id once it is created."""

    file: str
    keys: tuple[str, ...] = ()  # of its calls
    id: str = ""
    is_tried: bool = field(default=False, compare=False)  # a request to create it may have been heard


class BatchRecords:
    """The file that records each batch before it is created, once its id is known, and which results were taken."""

    def __init__(self, path: Path, url: str):
        self.path, self._url = path, url.strip().rstrip("/")

    def read(self) -> dict[str, SentBatch]:
        """Return the batch of each call that was sent to this URL and may not have been answered yet."""
        batches: dict[str, SentBatch] = {}
        for record in self._iterate():
            file = record.get("file", "")
            if "url" in record and str(record["url"]).strip().rstrip("/") == self._url:
                batches[file] = SentBatch(file, tuple(map(str, record.get("keys", ()))), is_tried=True)
            elif batch := batches.get(file):
                taken = {*map(str, record.get("taken", ()))}
                batch.keys = tuple(key for key in batch.keys if key not in taken)
                batch.id = record.get("batch", batch.id)
        return {key: batch for batch in batches.values() for key in batch.keys}  # the latest batch of a call

    def append(self, **record: object) -> None:
        """Append a record, after any half a line that a crash has left, and wait until it is on disk."""
        try:
            with self.path.open("ab") as file:
                file.write(b"\n%s\n" % json.dumps(record).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise explain(self.path, error) from error

    def _iterate(self) -> Iterator[Json]:
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            record = _read_line(line)
            lists = [record.get(name, []) for name in ("keys", "taken")] if record else [None]
            texts = [record.get(name, "") for name in ("file", "batch")] if record else [None]
            if all(isinstance(value, list) for value in lists) and all(isinstance(text, str) for text in texts):
                yield record


def has_open_calls(path: Path) -> bool:
    """True if a batch was sent whose results nobody has taken yet, to whatever URL."""
    urls = {str(record["url"]) for record in BatchRecords(path, "")._iterate() if "url" in record}
    return any(BatchRecords(path, url).read() for url in urls)


def read_id(created: Json) -> str:
    """Read the id of a file or a batch. Raises BadShape."""
    value = created.get("id")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise BadShape(f"no id of a file or batch: {str(created)[:100]!r}")
    return value


def read_status(batch: Json) -> Status:
    """Read how far a batch is. Raises BadShape."""
    status = batch.get("status")
    if not isinstance(status, str):
        raise BadShape(f"a batch without a status: {str(batch)[:100]!r}")
    name = _ENDS.get(status.casefold(), status.casefold())
    return Status(name) if name in {*Status} else Status.UNDER_WAY


def read_results(content: bytes) -> dict[str, Json | Fault]:
    """Read the lines of a batch's output or errors, by custom_id. Lines that are damaged are left out."""
    results: dict[str, Json | Fault] = {}
    for record in map(_read_line, content.splitlines()):
        if record and isinstance(record.get("custom_id"), str):
            results.setdefault(record["custom_id"], _read_result(record))
    return results


def _read_result(record: Json) -> Json | Fault:
    """Read a reply, or the error that the same call would have got by itself."""
    response = record.get("response")
    if not isinstance(response, dict):
        return Lost(read_words(json.dumps(record.get("error"))))
    body = response.get("body")
    payload = body.encode(errors="replace") if isinstance(body, str) else encode(body)  # some send it as a text
    status = str(response.get("status_code"))
    if re.fullmatch("[3-5][0-9][0-9]", status):
        return HttpError(int(status), payload[:20_000].decode(errors="replace"))
    try:
        return decode(payload)
    except Fault as fault:
        return fault


def _read_line(line: bytes) -> Json | None:
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
