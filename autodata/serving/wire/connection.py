"""Sends one HTTP request to an endpoint. A reply is never matched to another request, and its size is bounded."""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from string import Template
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from autodata.recipes.models import Endpoint
from autodata.serving.measured import EndpointError
from autodata.serving.wire.faults import SHOWN_CHARS, BadShape, ConnectionLost, HttpError, TimedOut, read_words
from autodata.types import WrongCall

log = logging.getLogger(__name__)
SHORTEST_KEY = 8  # characters; a shorter key, such as "x" for a server without keys, stands in many ordinary words
MAX_REPLY_BYTES, MAX_FILE_BYTES = 64 << 20, 1 << 30  # a file holds the replies of a whole batch
_UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=None)  # asyncio.timeout bounds the whole request
Json = dict[str, Any]


class NoKey(EndpointError):
    """An environment variable that an endpoint names is not set."""

    exit_code = WrongCall.exit_code


class Connection:
    """A pool of connections to one endpoint. It is opened on first use, in the event loop that uses it."""

    def __init__(self, endpoint: Endpoint, timeout_s: float | None = None):
        self._timeout_s = endpoint.timeout_s if timeout_s is None else timeout_s
        self._headers = make_headers(endpoint)
        self._base, self._query = _split(endpoint)
        self._proxy = _find_proxy(self._base)
        self._session: aiohttp.ClientSession | None = None
        self.last_headers: Mapping[str, str] = {}  # headers of the last reply; they tell the provider's limits

    async def post(self, path: str, body: Json) -> Json:
        """Send a body and return the reply. Raises Fault."""
        return await self._send("POST", path, encode(body))

    async def get(self, path: str) -> Json:
        """Raises Fault."""
        return await self._send("GET", path, None)

    async def upload(self, path: str, name: str, content: bytes, **fields: str) -> Json:
        """Send a file in a form with further fields. Raises Fault."""
        form = aiohttp.FormData(fields)
        form.add_field("file", content, filename=name, content_type="application/jsonl")
        headers = {key: value for key, value in self._headers.items() if key != "Content-Type"}
        return decode(await self._receive("POST", path, form, headers, MAX_REPLY_BYTES))

    async def download(self, path: str) -> bytes:
        """Return the content of a file. Raises Fault."""
        return await self._receive("GET", path, None, self._headers, MAX_FILE_BYTES)

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _send(self, method: str, path: str, payload: bytes | None) -> Json:
        return decode(await self._receive(method, path, payload, self._headers, MAX_REPLY_BYTES))

    async def _receive(
        self, method: str, path: str, payload: bytes | aiohttp.FormData | None, headers: dict[str, str], at_most: int
    ) -> bytes:
        if self._session is None:
            # The session has no limit of its own: Limit bounds the calls in flight.
            self._session = aiohttp.ClientSession(connector=_Connector(limit=0), timeout=_UNLIMITED)
        url = self._base.with_path(self._base.path + path).with_query(self._query)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                # A redirected POST would arrive as a GET, and its key at another host.
                self._session.request(
                    method, url, data=payload, headers=headers, proxy=self._proxy, allow_redirects=False
                ) as response,
            ):
                received = await _receive(response, at_most)
        except TimeoutError as error:
            raise TimedOut(f"no complete reply within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(" ".join(str(error).split()) or type(error).__name__) from error
        self.last_headers = response.headers
        if response.status >= 300:
            raise HttpError(response.status, received[:20_000].decode(errors="replace"), response.headers)
        return received


class _Connector(aiohttp.TCPConnector):
    """Never reuses a connection with more data than one reply: the rest would be read as the next request's answer."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        while (connection := await super().connect(*args, **kwargs)).protocol.should_close:
            connection.close()
        return connection


def make_headers(endpoint: Endpoint) -> dict[str, str]:
    """Make the headers of every request. An endpoint's own headers come last. Raises NoKey."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "autodata"}
    if endpoint.api_key_env:
        headers["Authorization"] = f"Bearer {api_key(endpoint)}"
    return headers | {name: _fill_in(value, endpoint) for name, value in endpoint.headers.items()}


def api_key(endpoint: Endpoint) -> str:
    """Read the API key from the environment. Raises NoKey if the named variable is not set."""
    if endpoint.api_key_env not in os.environ:
        raise _name_missing(endpoint.api_key_env, endpoint)
    key = os.environ[endpoint.api_key_env].strip()
    if len(key) < SHORTEST_KEY:
        least = f"fewer than {SHORTEST_KEY} characters"
        log.warning("%s has %s, so it is not hidden in what this run stores", endpoint.api_key_env, least)
    return key


def list_secrets(endpoint: Endpoint) -> list[str]:
    """List the values of all environment variables that an endpoint names, longest first. A short one is no secret."""
    names = [endpoint.api_key_env]
    for value in (*endpoint.headers.values(), *endpoint.query.values()):
        names += Template(str(value)).get_identifiers()
    values = [os.environ.get(name, "").strip() for name in names]
    return sorted((value for value in values if len(value) >= SHORTEST_KEY), key=len, reverse=True)


def _fill_in(value: object, endpoint: Endpoint) -> str:
    """Replace $NAME by an environment variable, so that no secret stands in a recipe. Raises NoKey."""
    try:
        return Template(str(value)).substitute(os.environ)
    except KeyError as name:
        raise _name_missing(name.args[0], endpoint) from None
    except ValueError as error:
        raise EndpointError(f"{endpoint.base_url}: {value!r}: {error}; write $$ for a dollar sign") from error


def _name_missing(name: str, endpoint: Endpoint) -> NoKey:
    problem = f"the environment variable {name} is not set"
    return NoKey(f"{endpoint.base_url or endpoint.model}: {problem}")


def _split(endpoint: Endpoint) -> tuple[URL, dict[str, str]]:
    """Split the query off base_url, as in "…?api-version=1". Raises EndpointError."""
    try:
        parts, url = urlsplit(endpoint.base_url or ""), URL(endpoint.base_url or "")
        if parts.scheme not in ("http", "https") or not url.host:
            raise ValueError("it needs http:// or https:// and a host")
    except ValueError as error:
        raise EndpointError(f"base_url={endpoint.base_url}: not a URL ({error}); set base_url") from error
    query = dict(parse_qsl(parts.query)) | {k: _fill_in(v, endpoint) for k, v in endpoint.query.items()}
    return url.with_query(None).with_fragment(None).with_path(url.path.rstrip("/")), query


def _find_proxy(url: URL) -> URL | None:
    """Find the environment's proxy once: at every call aiohttp would start a thread and look for ~/.netrc."""
    proxy = getproxies().get(url.scheme)
    if not proxy or proxy_bypass(url.authority.rpartition("@")[2]):
        return None
    return URL(proxy if "://" in proxy else f"http://{proxy}")  # curl accepts a proxy without a scheme, too


async def _receive(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    """Read a body. Raises ConnectionLost if it is too long."""
    parts, received = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        received += len(part)
        if received > at_most:
            response.close()
            raise ConnectionLost(f"the reply is longer than {at_most:,} bytes")
    return b"".join(parts)


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
    if value.get("error") and not value.get("choices") and not value.get("data"):
        code = value["error"].get("code") if isinstance(value["error"], dict) else value.get("code")
        is_status = isinstance(code, int) and 400 <= code < 600
        raise HttpError(code if is_status else 500, payload[:20_000].decode(errors="replace"))
    return value


def _decode_slowly(payload: bytes) -> object:
    """Read what orjson refuses and other parsers accept, as half a character. Raises BadShape."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        words = read_words(payload[:20_000].decode(errors="replace"))[:SHOWN_CHARS]
        raise BadShape(f"the reply is not JSON: {words!r}") from error
