"""HTTP connections on which a reply can only be the answer to its own request, and cannot be endless."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from openai import DefaultAioHttpClient
from openai._vendor.httpx_aiohttp import AiohttpTransport  # DefaultAioHttpClient makes a session of its own otherwise

MAX_REPLY_BYTES = 64 << 20


def connect(base_url: str) -> DefaultAioHttpClient:
    """aiohttp's pool of connections: httpx's takes 5 ms a call where 2,000 are under way, this one 0.4."""
    transport = AiohttpTransport(client=_open_session, proxy=_find_proxy(base_url))
    return DefaultAioHttpClient(transport=transport, event_hooks={"response": [_bound]})


def _find_proxy(url: str) -> httpx2.Proxy | None:
    """The environment's, looked up once: left to aiohttp it is a thread and a look for ~/.netrc at every call."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return httpx2.Proxy(proxy if "://" in proxy else f"http://{proxy}")  # curl takes one without a scheme, too


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=_Connector(limit=0))  # how many there are is for Limit to say


class _Connector(aiohttp.TCPConnector):
    """Never uses a connection again on which more came than was asked for.

    A reply that a proxy sends twice would be read as the answer to the next request, and from then on every answer
    would belong to the request before.
    """

    async def connect(self, *asked: Any, **more: Any) -> aiohttp.connector.Connection:
        while (connection := await super().connect(*asked, **more)).protocol.should_close:
            connection.close()
        return connection


async def _bound(response: httpx2.Response) -> None:
    response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """The body of one reply. Raises ReadError for one that is too long."""

    def __init__(self, body: httpx2.AsyncByteStream):
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for part in self._body:
            received += len(part)
            if received > MAX_REPLY_BYTES:
                raise httpx2.ReadError(f"a reply of more than {MAX_REPLY_BYTES} bytes")
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()
