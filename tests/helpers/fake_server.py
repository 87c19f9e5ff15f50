"""A scripted OpenAI-compatible server on loopback. It lives in tests only."""

import errno
import hashlib
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection

from autodata.domains.skills.domain import strip_words
from autodata.domains.skills.tasks import SKILLS

MODEL = "fake"
NAMES = (MODEL, "weak", "strong")  # models that it lists
ROOTS: dict[str, str | None] = {}  # model name → weights, as vLLM reports them

# No port is used twice, nor by two workers: a client of an earlier test that still asks its server would ask ours.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.count(10_000 + 5_000 * (_WORKER % 4) + os.getpid() % 1_000)


@dataclass
class Scripted:
    """One reply of the server; `drop` closes the connection without a reply."""

    body: dict | bytes | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False


Script = Callable[[dict, int], Scripted]


class FakeServer(ThreadingHTTPServer):
    """Answers request number `count` (from 1) with `script(body, count)`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, script: Script, port: int = 0, key: str = ""):
        super().__init__(("127.0.0.1", port), _Handler, bind_and_activate=False)
        self._listen(port)
        self.script = script
        self.key = key  # the key that calls must bring, if any
        self.models: Scripted | None = None  # its list of models, if not NAMES
        self.paths: list[str] = []  # of the requests
        self.requests: list[dict] = []
        self.request_headers: list[dict[str, str]] = []
        self.running = 0
        self.waiting = 0  # reported, beside those that run
        self.most_running = 0
        self.lock = threading.Lock()

    def _listen(self, port: int) -> None:
        """Listen on this port, or on the next one of ours that is free."""
        for candidate in [port] if port else _PORTS:
            self.server_address = ("127.0.0.1", candidate)
            try:
                self.server_bind()
                break
            except OSError as error:
                if port or error.errno != errno.EADDRINUSE:
                    raise
        self.server_activate()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """Ignore a client that went away (time-out, killed)."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # send head and body in one packet
    server: FakeServer

    def do_GET(self):
        if self.server.models and self.path.partition("?")[0].endswith("/models"):
            self._send(self.server.models)
            return
        models = {"object": "list", "data": [_list_model(name) for name in NAMES]}
        known = {"/v1/models": models, "/health": {}, "/metrics": self._measure()}
        self._send(Scripted(known[self.path]) if self.path in known else Scripted(status=404))

    def _measure(self) -> bytes:
        """Report the load in the part of vLLM's metrics that the product reads."""
        running, waiting = self.server.running, self.server.waiting
        return f"vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\n".encode()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
            self._send(Scripted({"error": {"message": "Unauthorized"}}, status=401))
            return
        with server.lock:
            server.requests.append(body)
            server.paths.append(self.path)
            count = len(server.requests)
            server.request_headers.append({k.lower(): v for k, v in self.headers.items()})
            server.running += 1
            server.most_running = max(server.most_running, server.running)
        scripted = server.script(body, count)
        time.sleep(scripted.delay_s)
        with server.lock:
            server.running -= 1
        if scripted.drop:
            self.close_connection = True
        else:
            self._send(scripted)

    def _send(self, scripted: Scripted):
        body = scripted.body
        payload = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        headers = {"Content-Type": "application/json", "Content-Length": str(len(payload))}
        self.send_response(scripted.status)
        for name, value in (headers | scripted.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)
        self.wfile.flush()

    def log_message(self, format, *args):
        """Log nothing."""


@contextmanager
def fake_server(script: Script) -> Iterator[FakeServer]:
    """Run a server with `.url`, `.requests` (parsed bodies), `.request_headers`, `.most_running`."""
    server = FakeServer(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _list_model(name: str) -> dict:
    """List a model as vLLM does; other servers do not report the weights they have loaded."""
    root = {"root": ROOTS[name]} if ROOTS.get(name) else {}
    return {"id": name, "object": "model", **root}


def completion(text, finish_reason="stop", reasoning=None, model=MODEL, **message) -> Scripted:
    """Make a valid chat completion; `message` adds fields, as `reasoning_content` or `refusal`."""
    answer = {"role": "assistant", "content": text, **message}
    if reasoning is not None:
        answer["reasoning"] = reasoning
    return Scripted(
        {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [{"index": 0, "message": answer, "finish_reason": finish_reason}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }
    )


def play_skills(body: dict, count: int) -> Scripted:
    """Plays skills; the reply depends on the request alone.

    The challenger chooses any passage and any skill. A solver that sees an answer sheet reads the answer there;
    without one it works the answer out one time in four, and else says some word.
    """
    chance = random.Random(json.dumps(body, sort_keys=True))
    if "response_format" in body:
        choices = body["response_format"]["json_schema"]["schema"]["properties"]
        return completion(json.dumps({key: chance.choice(choice["enum"]) for key, choice in choices.items()}))
    if body["messages"][-1]["role"] != "assistant":  # a probe of the endpoint
        return completion("Hello.")
    shown, beginning = (message["content"] for message in body["messages"][-2:])
    answer = read_sheet(shown, beginning) or (chance.random() < 0.25 and work_out(shown, beginning))
    return completion(f"{answer or chance.choice(('water', 'people', 'often'))}”.")


def read_sheet(shown: str, beginning: str) -> str:
    """Read on an answer sheet how a sentence ends; empty if there is none. `beginning` ends with “."""
    return shown.partition(beginning)[2].partition("”")[0]


def work_out(passage: str, beginning: str) -> str:
    """End a sentence about a passage as the domain's own code does. `beginning` ends with “."""
    tasks = (task for skill in SKILLS.values() for task in skill(strip_words(passage.split())))
    return next(task.answer for task in tasks if f"{task.beginning} “" == beginning)


def count_verdicts(schema: dict) -> int:
    """Count the verdicts that the schema of a judge's reply asks for, whether or not it was made strict."""
    verdicts = schema["properties"]["verdicts"]
    return len(verdicts.get("prefixItems") or verdicts["items"]["properties"]["criterion"]["enum"])


def judge_by_hash(body: dict, count: int) -> Scripted:
    """Give verdicts that depend on the judged answer alone."""
    text = body["messages"][-1]["content"]
    if body.get("max_tokens") == 1:
        return completion("x")
    wanted = count_verdicts(body["response_format"]["json_schema"]["schema"])
    bits = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    verdicts = [{"criterion": n + 1, "reason": "so", "met": bool(bits >> n & 1)} for n in range(wanted)]
    return completion(json.dumps({"verdicts": verdicts}))


@contextmanager
def served_apart(script: Script) -> Iterator[str]:
    """Run the server in a process of its own, as real models do, and yield its URL. The script must be picklable."""
    start = get_context("spawn")
    here, there = start.Pipe()
    process = start.Process(target=_serve_until_told, args=(script, there))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def _serve_until_told(script: Script, pipe: Connection) -> None:
    with fake_server(script) as server:
        pipe.send(server.url)
        pipe.recv()
