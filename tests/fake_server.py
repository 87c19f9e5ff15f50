"""A small real OpenAI-compatible server on loopback that answers by script. Lives in tests only."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Scripted:
    """One answer: an HTTP status with a body, after a delay, or a dropped connection."""

    body: dict | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False


Script = Callable[[dict, int], Scripted]


def completion(text: str | None, finish_reason: str = "stop", **message: object) -> Scripted:
    """A valid chat completion."""
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": text, **message},
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "fake",
            "choices": [choice], "usage": usage}  # fmt: skip
    return Scripted(body)


class FakeServer(ThreadingHTTPServer):
    """Counts and keeps every chat request."""

    daemon_threads = True

    def __init__(self, script: Script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.requests: list[dict] = []
        self.running = self.most_running = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        model = {"id": "fake", "object": "model", "created": 0, "owned_by": "tests"}
        self._send(Scripted({"object": "list", "data": [model]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.requests.append(body)
            count = len(self.server.requests)
            self.server.running += 1
            self.server.most_running = max(self.server.most_running, self.server.running)
        scripted = self.server.script(body, count)
        time.sleep(scripted.delay_s)
        with self.server.lock:
            self.server.running -= 1
        self._send(scripted)

    def _send(self, scripted: Scripted) -> None:
        if scripted.drop:
            self.close_connection = True
            return
        data = scripted.body
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        try:
            self.send_response(scripted.status)
            for name, value in {"content-type": "application/json", **scripted.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client was killed: that is what some tests do


@contextmanager
def fake_server(script: Script) -> Iterator[FakeServer]:
    server = FakeServer(script)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def play_cloze(body: dict, _count: int) -> Scripted:
    """Deterministic cloze players: the same request always gets the same answer.

    The weak solver is right on two of eight seeds for some sentences; the strong one reads the
    document that it was shown.
    """
    if "response_format" in body:
        cuts = body["response_format"]["json_schema"]["schema"]["properties"]["cut"]["enum"]
        return completion(json.dumps({"cut": cuts[body["seed"] % len(cuts)]}))
    question = body["messages"][-1]["content"]
    shown = body["messages"][0]["content"]
    if question in " ".join(shown.split()):
        rest = " ".join(shown.split()).split(question, 1)[1].split()
        return completion(" " + " ".join(rest[:3]), "length")
    word = question.split()[-1]
    return completion(f" {word}" if body["seed"] % 3 else " guess", "length")
