"""Sends one HTTP request to an endpoint. A reply is never matched to another request, and its size is bounded."""

import asyncio
import logging
import os
import re
from collections.abc import Mapping
from string import Template
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from autodata.recipes.models import Endpoint
from autodata.serving.measured import EndpointError
from autodata.serving.wire.body import Json, decode, encode
from autodata.serving.wire.faults import ConnectionLost, HttpError, TimedOut
from autodata.types import WrongCall

log = logging.getLogger(__name__)
SHORTEST_KEY = 8  # characters; a shorter key, such as "x" for a server without keys, stands in many ordinary words
MAX_REPLY_BYTES, MAX_FILE_BYTES = 64 << 20, 1 << 30  # a file holds the replies of a whole batch
_UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=None)  # asyncio.timeout bounds the whole request
_HEADER_NAME = re.compile(r"[!#$%&'*+.^`|~\w-]+", re.ASCII)
_ADDED = ("/chat/completions", "/completions", "/responses", "/messages")  # no base_url ends so


class WrongEndpoint(EndpointError):
    """The recipe describes an endpoint that cannot be asked."""

    exit_code = WrongCall.exit_code


class NoKey(WrongEndpoint):
    """An environment variable that an endpoint names is not set, or holds no key."""


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
        url = self._base.with_path(self._base.path.rstrip("/") + path).with_query(self._query)
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
    """Make the headers of every request. An endpoint's own headers come last. Raises WrongEndpoint, NoKey."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "autodata"}
    if endpoint.api_key_env:
        headers["Authorization"] = f"Bearer {api_key(endpoint)}"
    for name, value in endpoint.headers.items():
        headers[name] = _fill_in(value, endpoint).strip()
        if not _HEADER_NAME.fullmatch(name) or not headers[name].isprintable():
            problem = "a name has only letters, digits and dashes, and a value no line break"
            raise WrongEndpoint(
                f"{endpoint.base_url}: headers: {name!r} is no header ({problem}); change or remove it"
            )
    return headers


def api_key(endpoint: Endpoint) -> str:
    """Read the API key from the environment. Raises NoKey if the named variable is not set, or holds no key."""
    key = _read_variable(endpoint.api_key_env, endpoint)
    if not key.isascii() or key.casefold().startswith("bearer "):
        raise _no_key(endpoint.api_key_env, endpoint)
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
    values = [value for value in values if len(value) >= SHORTEST_KEY and value.isprintable()]
    in_urls = [URL.build(query={"": value}).raw_query_string.removeprefix("=") for value in values]
    return sorted({*values, *in_urls}, key=len, reverse=True)


def _fill_in(value: object, endpoint: Endpoint) -> str:
    """Replace $NAME by an environment variable, so that no secret stands in a recipe. Raises WrongEndpoint, NoKey."""
    template = Template(str(value))
    if not template.is_valid():
        raise WrongEndpoint(f"{endpoint.base_url}: {value!r}: a $ stands alone; write $$ for a dollar sign")
    return template.substitute({name: _read_variable(name, endpoint) for name in template.get_identifiers()})


def _read_variable(name: str, endpoint: Endpoint) -> str:
    """Read an environment variable. Raises NoKey if it is not set, or cannot be sent."""
    where, value = endpoint.base_url or endpoint.model, os.environ.get(name, "").strip()
    if not name.isidentifier():
        raise NoKey(f"{where}: api_key_env must be the name of an environment variable, and never the key itself")
    if not value:
        raise NoKey(f"{where}: the environment variable {name} is {'empty' if name in os.environ else 'not set'}")
    if not value.isprintable():
        raise _no_key(name, endpoint)
    return value


def _no_key(name: str, endpoint: Endpoint) -> NoKey:
    problem = f"the value of {name} is no key: it begins with Bearer, or holds a line break or a special character"
    return NoKey(f"{endpoint.base_url or endpoint.model}: {problem}; set it to the key alone")


def _split(endpoint: Endpoint) -> tuple[URL, dict[str, str]]:
    """Split the query off base_url, as in "…?api-version=1". Raises WrongEndpoint."""
    address = (endpoint.base_url or "").strip()
    try:
        parts, url = urlsplit(address), URL(address)
        if parts.scheme not in ("http", "https") or not url.host:
            raise ValueError("it needs http:// or https:// and a host")
        (url.raw_host or "").encode("idna")  # as the look-up of the host does
    except ValueError as error:
        raise WrongEndpoint(f"base_url={address}: not a URL ({error}); set base_url") from error
    if url.user or url.password:
        advice = "set api_key_env, or headers: {Authorization: Basic $NAME}, of this endpoint"
        raise WrongEndpoint(
            f"base_url of {endpoint.model} holds a user name or password: leave them out, and {advice}"
        )
    if path := next((path for path in _ADDED if url.path.rstrip("/").endswith(path)), None):
        raise WrongEndpoint(f"base_url={address}: leave out {path}, which is added to base_url")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query |= {k: _fill_in(v, endpoint) for k, v in endpoint.query.items()}
    return url.with_query(None).with_fragment(None), query


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
