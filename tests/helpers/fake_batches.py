"""A scripted server on loopback that also has OpenAI's Batch API. It lives in tests only."""

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.helpers.fake_server import FakeServer, Script, Scripted, _Handler

NO_BATCH, NO_FILE = (Scripted({"error": {"message": f"no such {name}"}}, 404) for name in ("batch", "file"))


@dataclass
class Provider:
    """What the provider holds, and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict] = field(default_factory=dict)
    looks: int = 1  # how often one must look until a batch has ended
    expires: int = 0  # the first so many batches answer only half of their calls
    refuses: str = ""  # why every batch fails as a whole
    forgets: int = 0  # the first so many requests to create a batch are heard, but not answered
    posts: int = 0  # requests to create a batch
    downloads: int = 0
    is_there: bool = True  # False: there is no Batch API

    @property
    def sizes(self) -> list[int]:
        """The number of calls in each batch."""
        return [len(self.files[batch["input_file_id"]].splitlines()) for batch in self.batches.values()]


class _BatchHandler(_Handler):
    server: "BatchServer"

    def do_POST(self):
        if not self.server.provider.is_there:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(Scripted({"error": {"message": "no such route"}}, 404))
        elif self.path == "/v1/files":
            self._send(Scripted(self._upload()))
        elif self.path == "/v1/batches":
            self._create()
        else:
            super().do_POST()

    def do_GET(self):
        parts, provider = self.path.split("/")[2:], self.server.provider
        if parts == ["batches"]:
            self._send(Scripted({"data": [*provider.batches.values()]}))
        elif parts[0] == "batches":
            found = provider.batches.get(parts[1])
            self._send(Scripted(self._look(found)) if found else NO_BATCH)
        elif parts[0] == "files":
            provider.downloads += 1
            content = provider.files.get(parts[1])
            self._send(NO_FILE if content is None else Scripted(content))
        else:
            super().do_GET()

    def _upload(self) -> dict:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + content, policy=email.policy.HTTP)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        assert parts["purpose"].get_content().strip() == "batch"
        return {"id": self.server.keep(parts["file"].get_payload(decode=True)), "object": "file"}

    def _create(self):
        body, provider = json.loads(self.rfile.read(int(self.headers["Content-Length"]))), self.server.provider
        assert body["endpoint"] == "/v1/chat/completions"
        provider.posts += 1
        batch = {"id": f"batch_{len(provider.batches)}", "status": "validating", "looks": 0, **body}
        provider.batches[batch["id"]] = batch
        if provider.posts <= provider.forgets:
            self.close_connection = True
        else:
            self._send(Scripted(batch))

    def _look(self, batch: dict) -> dict:
        provider = self.server.provider
        batch["looks"] += 1
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress"
            if provider.refuses:
                batch |= {"status": "failed", "errors": {"data": [{"message": provider.refuses}]}}
            elif batch["looks"] >= provider.looks:
                self.server.answer(batch)
        return batch


class BatchServer(FakeServer):
    """Answers each call of a batch as it answers a live one; `batched` holds the bodies of these calls."""

    def __init__(self, script: Script, provider: Provider):
        super().__init__(script)
        self.RequestHandlerClass = _BatchHandler
        self.provider = provider
        self.batched: list[dict] = []

    def keep(self, content: bytes) -> str:
        name = f"file-{len(self.provider.files)}"
        self.provider.files[name] = content
        return name

    def answer(self, batch: dict) -> None:
        """Answer the calls of a batch; an expired one names those that it has not answered in its file of errors."""
        calls = [json.loads(line) for line in self.provider.files[batch["input_file_id"]].splitlines()]
        is_expired = int(batch["id"].removeprefix("batch_")) < self.provider.expires
        answered = calls[: len(calls) // 2] if is_expired else calls
        rows = [self._answer_one(call) for call in reversed(answered)]  # the order is not that of the calls
        expired = {"code": "batch_expired", "message": "This request could not be executed in time."}
        lost = [{"custom_id": c["custom_id"], "response": None, "error": expired} for c in calls[len(answered) :]]
        errors = [row for row in rows if row["response"]["status_code"] >= 300] + lost
        rows = [row for row in rows if row["response"]["status_code"] < 300]
        batch |= {"status": "expired" if is_expired else "completed"}
        for name, lines in (("output_file_id", rows), ("error_file_id", errors)):
            batch[name] = self.keep(b"".join(json.dumps(line).encode() + b"\n" for line in lines)) if lines else None

    def _answer_one(self, call: dict) -> dict:
        with self.lock:
            self.batched.append(call["body"])
            self.requests.append(call["body"])
            count = len(self.requests)
        scripted = self.script(call["body"], count)
        response = {"status_code": scripted.status, "body": scripted.body}
        return {"id": "r", "custom_id": call["custom_id"], "response": response, "error": None}


@contextmanager
def batch_server(script: Script, **behaviour: object) -> Iterator[BatchServer]:
    """Run a server with `.provider` (files and batches) and `.batched` (the bodies of calls in batches)."""
    server = BatchServer(script, Provider(**behaviour))
    thread = threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
