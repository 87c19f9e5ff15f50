"""Asks the Semantic Scholar Datasets API for releases and for the signed addresses of their files."""

import re
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
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
    """A signed address is no longer valid."""


class Busy(RuntimeError):
    """The server asks the client to try again later."""

    def __init__(self, status: int, retry_after: str | None):
        super().__init__(f"HTTP {status}")
        self.wait_s = min(float(retry_after), 300.0) if retry_after and retry_after.isdigit() else 0.0


class Api:
    """The client of the API. It limits the requests per second and sends the key, in a header, to this host only."""

    def __init__(self, recipe: DownloadRecipe, key: str):
        self.timeout_s, self.retries = recipe.timeout_s, recipe.retries
        self._base_url, self._key_env = recipe.base_url.rstrip("/"), recipe.api_key_env
        self._pause = 1 / recipe.requests_per_second
        headers = {"x-api-key": key} if key else {}
        self._http = httpx.Client(headers=headers, timeout=recipe.timeout_s, follow_redirects=False)
        self._last_request = float("-inf")

    def find_release(self, name: str) -> str:
        """Return the date that `latest` stands for, or the name itself. Raises DownloadError."""
        release = self._get(f"/release/{require_plain(name)}").get("release_id")
        if not isinstance(release, str):
            raise DownloadError(f"{self._base_url}/release/{name}: the response has no release_id")
        return require_plain(release)

    def list_files(self, release: str, dataset: str) -> list[tuple[str, str]]:
        """List name and address of each file of a data set. Raises DownloadError.

        An address is valid for some hours, and a secret for as long, because it carries a signature.
        """
        path = f"/release/{release}/dataset/{dataset}"
        urls = self._get(path).get("files")
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise DownloadError(f"{self._base_url}{path}: the response has no list of files")
        return [(require_plain(unquote(urlsplit(url).path).rpartition("/")[2]), url) for url in urls]

    def _get(self, path: str) -> dict[str, object]:
        response = retry(self.retries, lambda: self._request(path))
        value = None
        with suppress(ValueError):
            value = response.json()
        if not isinstance(value, dict):
            raise DownloadError(f"{self._base_url}{path}: the response is not a JSON object; check base_url")
        return value

    def _request(self, path: str) -> httpx.Response:
        sleep(max(0.0, self._last_request + self._pause - monotonic()))
        self._last_request = monotonic()
        response = self._http.get(self._base_url + path)
        if response.status_code in (401, 403):
            problem = f"{self._base_url}{path}: refused ({response.status_code})"
            raise DownloadError(f"{problem}; set {self._key_env} to your key")
        if response.status_code == 404:
            raise DownloadError(f"{self._base_url}{path}: not found (404); check release and datasets")
        require_data(response)
        return response

    def close(self) -> None:
        self._http.close()


def require_plain(name: str) -> str:
    """Return the name if it can stand in a path: names come from another machine. Raises DownloadError."""
    if not _PLAIN.fullmatch(name):
        raise DownloadError(f"{name!r} cannot be used as a file name")
    return name


def require_data(response: httpx.Response) -> None:
    """Raise Busy or DownloadError for a response without data."""
    if response.status_code in _BUSY:
        raise Busy(response.status_code, response.headers.get("retry-after"))
    if response.status_code not in (200, 206):
        raise DownloadError(f"{response.url.host}: HTTP {response.status_code}")


def retry(times: int, attempt: Callable[[], T]) -> T:
    """Call `attempt`, and again if the server is busy or the connection breaks. Raises DownloadError."""
    waits = tenacity.wait_random_exponential(multiplier=1, max=60)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(waits(state), error.wait_s if isinstance(error, Busy) else 0.0)

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(times + 1),
        wait=wait,
        sleep=sleep,
        reraise=True,
        retry=tenacity.retry_if_exception_type((Busy, httpx.TransportError)),
    )
    try:
        return retrying(attempt)
    except (Busy, httpx.TransportError) as error:
        # The text of a TransportError is not shown, because it can contain a signed address.
        cause = str(error) if isinstance(error, Busy) else type(error).__name__
        problem = f"the server sent no data ({cause}, attempts: {times + 1})"
        raise DownloadError(f"{problem}; try again later") from None
