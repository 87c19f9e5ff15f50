"""Sends calls that can wait in batches, by OpenAI's Batch API, and hands each caller the reply to its own call.

A batch is sent once it is full, or once nobody has asked anything new for a while. The record of sent batches lies
beside the journal: a run that was killed takes up its batches again and sends nothing twice. A call that its batch has
not answered, because it expired for example, is sent again in the next one, as other calls are after a passing fault.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from autodata.recipes.models import Batch, Endpoint
from autodata.serving.measured import EndpointClosed
from autodata.serving.wire.batch_files import BatchRecords, SentBatch, read_id, read_results, read_status
from autodata.serving.wire.body import Json, encode
from autodata.serving.wire.connection import Connection
from autodata.serving.wire.failures import hide_key
from autodata.serving.wire.faults import SHOWN_CHARS, Fault, HttpError, Lost, read_words
from autodata.serving.wire.meaning import BATCH_API
from autodata.serving.wire.pace import Pace
from autodata.serving.wire.retries import persist
from autodata.stats.writing import write_count

log = logging.getLogger("autodata")
T = TypeVar("T")
URL = "/v1/chat/completions"
_FIRST_LOOK_S, _LONGEST_LOOK_S = 1.0, 60.0  # between two looks at a batch; each is twice as long as the one before
_STEP_S = 1.0  # after which a waiting batch notices that the run is stopping
_MOST_BYTES = 100 << 20  # of a file; OpenAI allows 200 MB
_GONE = {404, 410}
_NO_LIST = {404, 405, 501}  # a provider that does not list its batches


class Batches:
    """The calls of one endpoint that are sent together."""

    who, tokens = "a batch", 0  # as the Caller of its own requests

    def __init__(
        self, endpoint: Endpoint, connection: Connection, pace: Pace, path: Path, require_room: Callable[[], None]
    ):
        self._endpoint, self._connection, self._pace = endpoint, connection, pace
        self._config = endpoint.batch or Batch()
        self.require_room = require_room
        self._records = BatchRecords(path, endpoint.base_url or "")
        self._sent = self._records.read()  # key of a call → the batch with its reply, until somebody has taken it
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._arrived: dict[str, Json | Fault] = {}  # results that nobody has asked for yet
        self._came_from: dict[str, str] = {}  # key → file of the batch with its result, until somebody has taken it
        self._taken: defaultdict[str, list[str]] = defaultdict(list)  # file → keys
        self._lines: dict[str, bytes] = {}  # calls that are not sent yet
        self._size, self._last_asked = 0, 0.0  # bytes of these lines; when the last one was added
        self._collecting = False
        self._followed: set[str] = set()  # files of the batches that a task waits for
        self._tasks: set[asyncio.Task[None]] = set()

    async def post(self, key: str, body: Json) -> Json:
        """Return the reply to a call from the batch it was or will be sent with. Raises Fault, or as require_room."""
        if key in self._arrived:
            self._note_taken(key)
            return _take(self._arrived.pop(key))
        reply = self._waiting[key] = asyncio.get_running_loop().create_future()
        if batch := self._sent.get(key):
            self._follow(batch)
        else:
            self._collect(key, encode({"custom_id": key, "method": "POST", "url": URL, "body": body}))
        try:
            await asyncio.wait([reply])
            self._note_taken(key)
            return reply.result()
        finally:
            reply.cancel()
            del self._waiting[key]
            self._lines.pop(key, None)

    async def close(self) -> None:
        """Stop waiting. Results that were taken are by now in the journal, or failures: they are not fetched again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for file, keys in self._taken.items():
            self._records.append(file=file, taken=keys)

    def count_retry(self, fault: Fault) -> None:
        log.info("batch: retry after %s", fault.name)

    def _note_taken(self, key: str) -> None:
        if file := self._came_from.pop(key, ""):
            self._taken[file].append(key)

    def _collect(self, key: str, line: bytes) -> None:
        self._lines[key], self._last_asked = line, time.monotonic()
        self._size += len(line)
        if len(self._lines) >= self._config.requests or self._size >= _MOST_BYTES:
            self._send()
        elif not self._collecting:
            self._collecting = True
            self._start(self._send_when_quiet())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_when_quiet(self) -> None:
        with self._fail_together(lambda: self._lines):
            try:
                while (seconds := self._last_asked + self._config.quiet_s - time.monotonic()) > 0:
                    await self._rest(seconds)
            finally:
                self._collecting = False
            self._send()

    def _send(self) -> None:
        """Send what was collected."""
        lines, self._lines, self._size = self._lines, {}, 0
        if lines:
            self._start(self._upload(lines))

    async def _upload(self, lines: Mapping[str, bytes]) -> None:
        """Upload the file of a batch and record it, before the batch is created."""
        with self._fail_together(lambda: lines):
            content = b"\n".join(lines.values()) + b"\n"
            upload = lambda: self._connection.upload("/files", "batch.jsonl", content, purpose="batch")  # noqa: E731
            batch = SentBatch(read_id(await self._ask(upload)), keys=tuple(lines))
            self._records.append(file=batch.file, url=self._endpoint.base_url, keys=batch.keys)
            self._sent |= dict.fromkeys(lines, batch)
            self._follow(batch)

    def _follow(self, batch: SentBatch) -> None:
        if batch.file not in self._followed:
            self._followed.add(batch.file)
            self._start(self._hand_out(batch))

    async def _hand_out(self, batch: SentBatch) -> None:
        """Wait for a batch and hand out its results. After an error it stays known, and its calls may ask again."""
        with self._fail_together(lambda: batch.keys):
            try:
                results = await self._fetch(await self._wait(batch))
            finally:
                self._followed.discard(batch.file)
            for key in batch.keys:
                result = results.get(key) or Lost("the batch ended without a reply to this call")
                if self._sent.get(key) is batch:
                    del self._sent[key]
                    self._came_from[key] = batch.file
                    self._give(key, result)

    def _give(self, key: str, result: Json | Fault) -> None:
        waiting = self._waiting.get(key)
        if waiting is None or waiting.done():
            self._arrived[key] = result
        elif isinstance(result, Fault):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)

    @contextmanager
    def _fail_together(self, list_keys: Callable[[], Iterable[str]]) -> Iterator[None]:
        """Raise whatever ends a task in the calls that wait for it: nobody awaits the task itself."""
        try:
            yield
        except Exception as error:
            for key in list_keys():
                if (waiting := self._waiting.get(key)) and not waiting.done():
                    waiting.set_exception(error)

    async def _wait(self, batch: SentBatch) -> Json:
        """Wait until a batch has ended; return what the provider says of it. Raises HttpError if it was refused."""
        if not batch.id:
            batch.id = read_id(await self._create(batch))
            self._records.append(file=batch.file, batch=batch.id)
            log.warning("%s: batch %s has %s", self._endpoint.base_url, batch.id, write_count(len(batch.keys), "call"))
        pause = _FIRST_LOOK_S
        while not (status := read_status(state := await self._look(batch))).is_end:
            await self._rest(pause)
            pause = min(2 * pause, _LONGEST_LOOK_S)
        if status.is_refused:
            self._records.append(file=batch.file, taken=batch.keys)
            for key in batch.keys:
                self._sent.pop(key, None)
            raise HttpError(400, f"{BATCH_API} {read_words(encode(state.get('errors') or {}).decode())}")
        log.warning("%s: batch %s is %s", self._endpoint.base_url, batch.id, status)
        return state

    async def _look(self, batch: SentBatch) -> Json:
        """Ask how far a batch is. Raises Fault, and EndpointClosed if the provider does not know the batch."""
        try:
            return await self._ask(lambda: self._connection.get(f"/batches/{batch.id}"))
        except HttpError as error:
            if error.status not in _GONE:
                raise
            where = f"{self._endpoint.base_url}: HTTP {error.status}, {hide_key(error.words, self._endpoint)}"
            advice = "set api_key_env to the key that it was sent with, or, to send its calls again, remove the lines"
            lost = f"the provider does not know batch {batch.id}: {advice} of {batch.file} from {self._records.path}"
            raise EndpointClosed(f"{where}; {lost}") from error

    async def _create(self, batch: SentBatch) -> Json:
        """Create a batch once: before another try, look whether the one before was heard."""
        body = {"input_file_id": batch.file, "endpoint": URL, "completion_window": self._config.window}

        async def create() -> Json:
            if batch.is_tried and (heard := await self._find(batch.file)):
                return heard
            batch.is_tried = True
            return await self._connection.post("/batches", body)

        return await self._ask(create)

    async def _find(self, file: str) -> Json | None:
        try:
            listed = (await self._connection.get("/batches")).get("data")
        except HttpError as error:
            if error.status in _NO_LIST:
                return None
            raise
        batches = [batch for batch in listed if isinstance(batch, dict)] if isinstance(listed, list) else []
        return next((batch for batch in batches if batch.get("input_file_id") == file), None)

    async def _fetch(self, state: Json) -> dict[str, Json | Fault]:
        """Download the replies and the errors of a batch, by the key of their calls."""
        results: dict[str, Json | Fault] = {}
        for name in ("error_file_id", "output_file_id"):
            if state.get(name):
                results |= read_results(await self._download(read_id({"id": state[name]})))
        return results

    async def _download(self, file: str) -> bytes:
        """Return the content of a file; nothing if the provider has deleted it, as some do after a month."""
        try:
            return await self._ask(lambda: self._connection.download(f"/files/{file}/content"))
        except HttpError as error:
            if error.status not in _GONE:
                raise
            log.warning("%s: file %s of a batch is gone; its calls are sent again", self._endpoint.base_url, file)
            return b""

    async def _ask(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send a request of the Batch API until there is a reply. Raises Fault."""
        try:
            return await persist(send, self._endpoint, self._pace, self)
        except HttpError as error:
            raise HttpError(error.status, f"{BATCH_API} {error.words[:SHOWN_CHARS]}", error.headers) from error

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless the run is stopping."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.require_room()
            await asyncio.sleep(min(left, _STEP_S))


def _take(result: Json | Fault) -> Json:
    if isinstance(result, Fault):
        raise result
    return result
