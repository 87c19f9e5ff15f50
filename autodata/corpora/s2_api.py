"""The Semantic Scholar Datasets API: releases, and the signed addresses of their files."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import httpx
import tenacity

from autodata.recipes.corpora import DownloadRecipe
from autodata.types import UserError

T = TypeVar("T")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_BUSY = {408, 429, 500, 502, 503, 504}


class DownloadError(UserError):
    """Nothing more can be fetched; the message says what to change."""


class Expired(RuntimeError):
    """A signed address is no longer good."""


class Busy(RuntimeError):
    """The server asks to come again."""

    def __init__(self, status: int, retry_after: str | None):
        super().__init__(f"HTTP {status}")
        self.wait_s = min(float(retry_after), 300.0) if retry_after and retry_after.isdigit() else 0.0


@dataclass(frozen=True)
class Remote:
    """A file of a data set. The address is a secret for as long as it is good: it carries a signature."""

    name: str
    url: str


class Api:
    """At most so many requests a second, the key in a header that goes to this host only."""

    def __init__(self, recipe: DownloadRecipe, key: str):
        self.timeout_s, self.retries = recipe.timeout_s, recipe.retries
        self._base, self._key_env = recipe.base_url.rstrip("/"), recipe.api_key_env
        self._pause = 1 / recipe.requests_per_second
        headers = {"x-api-key": key} if key else {}
        self._http = httpx.Client(headers=headers, timeout=recipe.timeout_s, follow_redirects=False)
        self._last = float("-inf")

    def find_release(self, name: str) -> str:
        """The date that `latest` stands for, or the name itself. Raises DownloadError."""
        found = self._get(f"/release/{require_plain(name)}").get("release_id")
        if not isinstance(found, str):
            raise DownloadError(f"{self._base}/release/{name}: no release_id in the answer")
        return require_plain(found)

    def list_files(self, release: str, dataset: str) -> list[Remote]:
        """The files of a data set with addresses that are good for some hours. Raises DownloadError."""
        urls = self._get(f"/release/{release}/dataset/{dataset}").get("files")
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise DownloadError(f"{self._base}/release/{release}/dataset/{dataset}: no list of files in the answer")
        return [Remote(require_plain(unquote(urlsplit(url).path).rpartition("/")[2]), url) for url in urls]

    def _get(self, path: str) -> dict[str, object]:
        answer = retry(self.retries, lambda: self._ask(path))
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise DownloadError(f"{self._base}{path}: the answer is not a JSON object; check base_url")
        return value

    def _ask(self, path: str) -> httpx.Response:
        _sleep(max(0.0, self._last + self._pause - time.monotonic()))
        self._last = time.monotonic()
        answer = self._http.get(self._base + path)
        if answer.status_code in (401, 403):
            raise DownloadError(f"{self._base}{path}: refused ({answer.status_code}); set {self._key_env} to your key")
        if answer.status_code == 404:
            raise DownloadError(f"{self._base}{path}: not there; check release and datasets")
        refuse(answer)
        return answer

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._http.close()


def require_plain(name: str) -> str:
    """A name that can stand in a path. Raises DownloadError: names come from another machine."""
    if not _PLAIN.fullmatch(name):
        raise DownloadError(f"{name!r} is no name for a file")
    return name


def refuse(answer: httpx.Response) -> None:
    """Raise Busy or DownloadError for an answer that brings nothing."""
    if answer.status_code in _BUSY:
        raise Busy(answer.status_code, answer.headers.get("retry-after"))
    if answer.status_code not in (200, 206):
        raise DownloadError(f"{answer.url.host}: HTTP {answer.status_code}")


def retry(times: int, attempt: Callable[[], T]) -> T:
    """What `attempt` returns, tried again when the server is busy or the connection breaks. Raises DownloadError."""
    waits = tenacity.wait_random_exponential(multiplier=1, max=60)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(waits(state), error.wait_s if isinstance(error, Busy) else 0.0)

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(times + 1), wait=wait, sleep=lambda s: _sleep(s), reraise=True,
        retry=tenacity.retry_if_exception_type((Busy, httpx.TransportError)),
    )  # fmt: skip
    try:
        return retrying(attempt)
    except (Busy, httpx.TransportError) as error:  # its text can name a signed address
        raise DownloadError(f"{type(error).__name__} after {times + 1} attempts; try again later") from None


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
