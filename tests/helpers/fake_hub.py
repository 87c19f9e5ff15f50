"""A hub on loopback with the routes that huggingface_hub and datasets use to publish and to read back."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LFS = (".parquet", ".safetensors", ".eval", ".png")
ATTRIBUTES = b"*.parquet filter=lfs\n"


@dataclass
class Repo:
    """A repository at its last commit."""

    kind: str
    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": ATTRIBUTES})
    commits: int = 0

    @property
    def sha(self) -> str:
        return f"{self.commits:040x}"


class FakeHub(ThreadingHTTPServer):
    """Holds repositories by (kind, name) and all requests."""

    daemon_threads = True

    def __init__(self, token: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}  # LFS files by SHA-256
        self.requests: list[str] = []
        self.down = False
        self.breaks: dict[str, int] = {}  # file → bytes after which its connection breaks, once
        self.falls = False  # True if the hub is down from then on
        self.ranges: list[str] = []  # of the requests that ask for a part of a file

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Ignore a client that went away."""


def oid(name: str, data: bytes) -> str:
    """Return the id that git gives to a file, or LFS to a large one."""
    is_large = name.endswith(LFS)
    return hashlib.sha256(data).hexdigest() if is_large else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def do_GET(self):
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self):
        path = unquote(urlsplit(self.path).path)
        is_chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self._read_chunks() if is_chunked else self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(f"{self.command} {path}")
        if asked := self.headers.get("Range"):
            self.server.ranges.append(asked)
        if self.server.down:
            self._send(503, {"error": "down for maintenance"})
            return
        for pattern, method, needs_token in ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                if needs_token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
                    self._send(401, {"error": "Invalid username or password."})
                else:
                    method(self, body, *match.groups())
                return
        self._send(404, {"error": f"no route {self.command} {path}"})

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _create(self, body: bytes):
        order = json.loads(body)
        name = f"{order['organization']}/{order['name']}" if order.get("organization") else order["name"]
        kind = order.get("type", "model")
        place = f"{self.server.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        is_new = (kind, name) not in self.server.repos
        self.server.repos.setdefault((kind, name), Repo(kind, order.get("visibility") == "private"))
        self._send(200 if is_new else 409, {"url": place, "error": "" if is_new else "You already created this repo"})

    def _check_card(self, body: bytes):
        self._send(200, {"errors": [], "warnings": []})

    def _sort(self, body: bytes, kind: str, name: str, _: str):
        repo = self._find(kind, name)
        paths = [f["path"] for f in json.loads(body)["files"]]
        files = [
            {
                "path": path,
                "uploadMode": "lfs" if path.endswith(LFS) else "regular",
                "shouldIgnore": False,
                "oid": oid(path, repo.files[path]) if path in repo.files else None,
            }
            for path in paths
        ]
        self._send(200, {"files": files})

    def _offer(self, body: bytes, _: str, name: str):
        answer = [{"oid": o["oid"], "size": o["size"]} | self._place(o["oid"]) for o in json.loads(body)["objects"]]
        self._send(200, {"transfer": "basic", "objects": answer})

    def _place(self, oid: str) -> dict:
        is_here = oid in self.server.objects
        return {} if is_here else {"actions": {"upload": {"href": f"{self.server.url}/objects/{oid}"}}}

    def _keep(self, body: bytes, oid: str):
        self.server.objects[oid] = body
        self._send(200, {})

    def _commit(self, body: bytes, kind: str, name: str, _: str):
        repo = self._find(kind, name)
        for operation in map(json.loads, body.splitlines()):
            value = operation["value"]
            if operation["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                repo.files[value["path"]] = self.server.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                del repo.files[value["path"]]
        repo.commits += 1
        url = f"{self.server.url}/{kind}s/{name}/commit/{repo.sha}"
        self._send(200, {"commitUrl": url, "commitOid": repo.sha, "success": True})

    def _describe(self, _: bytes, kind: str, name: str, revision: str | None = None):
        if repo := self._find(kind, name):
            siblings = [{"rfilename": f} for f in sorted(repo.files)]
            facts = {"id": name, "sha": repo.sha, "private": repo.private, "tags": [], "downloads": 0, "likes": 0}
            self._send(200, facts | {"siblings": siblings})

    def _list(self, _: bytes, kind: str, name: str, revision: str, below: str | None = None):
        if repo := self._find(kind, name):
            prefix = f"{below}/" if below else ""
            self._send(200, [self._entry(f, data) for f, data in sorted(repo.files.items()) if f.startswith(prefix)])

    def _entry(self, name: str, data: bytes) -> dict:
        lfs = {"lfs": {"oid": oid(name, data), "size": len(data), "pointerSize": 1}} if name.endswith(LFS) else {}
        return {"type": "file", "path": name, "size": len(data), "oid": oid(name, data)} | lfs

    def _paths_info(self, body: bytes, kind: str, name: str, revision: str):
        if repo := self._find(kind, name):
            wanted = json.loads(body)["paths"]
            self._send(200, [self._entry(f, repo.files[f]) for f in wanted if f in repo.files])

    def _download(self, _: bytes, kind: str | None, name: str, revision: str, file: str):
        repo = self._find("dataset" if kind else "model", name)
        if repo and file in repo.files:
            data = repo.files[file]
            headers = {"ETag": f'"{oid(file, data)}"', "X-Repo-Commit": repo.sha, "Accept-Ranges": "bytes"}
            self._send_file(file, data, headers)
        elif repo:
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    def _send_file(self, file: str, data: bytes, headers: dict[str, str]):
        if asked := self.headers.get("Range"):
            start = int(re.match(r"bytes=(\d+)-", asked)[1])
            headers |= {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            self._send(206, data[start:], headers)
        elif self.command == "GET" and file in self.server.breaks:
            self._send(200, data, headers, self.server.breaks.pop(file))
            self.close_connection, self.server.down = True, self.server.falls
        else:
            self._send(200, data, headers)

    def _find(self, kind: str, name: str) -> Repo | None:
        repo = self.server.repos.get((kind, name))
        if repo is None:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return repo

    def _send(self, status: int, body: object, headers: dict[str, str] | None = None, at_most: int | None = None):
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(payload)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload[:at_most])

    def log_message(self, format, *args):
        """Log nothing."""


_REPO = r"/api/(model|dataset)s/([\w.-]+/[\w.-]+)"
# (method and path, handler, True if only the owner of the token may call it)
ROUTES = (
    (r"POST /api/repos/create", _Handler._create, True),
    (r"POST /api/validate-yaml", _Handler._check_card, False),
    (rf"POST {_REPO}/preupload/(\w+)", _Handler._sort, True),
    (rf"POST {_REPO}/commit/(\w+)", _Handler._commit, True),
    (rf"POST {_REPO}/paths-info/(\w+)", _Handler._paths_info, False),
    (r"POST /(datasets/)?([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", _Handler._offer, True),
    (r"PUT /objects/(\w+)", _Handler._keep, False),
    (rf"GET {_REPO}", _Handler._describe, False),
    (rf"GET {_REPO}/revision/(\w+)", _Handler._describe, False),
    (rf"GET {_REPO}/tree/(\w+)(?:/(.+))?", _Handler._list, False),
    (r"(?:GET|HEAD) /(datasets/)?([\w.-]+/[\w.-]+)/resolve/(\w+)/(.+)", _Handler._download, False),
)


@contextmanager
def fake_hub(token: str) -> Iterator[FakeHub]:
    """Run a hub on which the owner of `token` may write."""
    hub = FakeHub(token)
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
