"""A proxy in front of a server that spoils requests and replies by a schedule drawn from a seed."""

import asyncio
import hashlib
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

STALL_S = 0.15
HELD_S = 3.0  # longer than the time-out of the calls that are tested
REFUSING_S = 0.03
RST_ON_CLOSE = struct.pack("ii", 1, 0)
SHAPES: tuple[object, ...] = ([], None, "fine", {"object": "list", "data": []}, {"choices": {"a": 1}},
                              {"choices": [{}]}, {"choices": [{"message": {"content": 7}}]})  # fmt: skip


@dataclass(frozen=True)
class Message:
    """An HTTP message, a request or a reply."""

    head: bytes  # with the blank line after it
    body: bytes

    @property
    def whole(self) -> bytes:
        return self.head + self.body


class Ended(Exception):
    """Raised when the connection is closed."""


Spoil = Callable[["Exchange"], "asyncio.Future[None] | object"]


@dataclass
class Exchange:
    """One request on its way, with everything that a fault may need."""

    request: Message
    chance: random.Random
    client: asyncio.StreamWriter
    forward: Callable[[Message], "asyncio.Future[Message]"]
    proxy: "Proxy"

    async def reply(self) -> Message:
        return await self.forward(self.request)

    async def send(self, data: bytes) -> None:
        self.client.write(data)
        await self.client.drain()

    async def answer(self, body: bytes, status: str = "200 OK", more: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        await self.send(head.encode() + body)

    async def maybe_reach_the_server(self) -> None:
        """Forward half of the requests: there the fault hits the reply, and the server has worked in vain."""
        if self.chance.random() < 0.5:
            await self.reply()


async def refuse(exchange: Exchange) -> None:
    """Close this connection and refuse new ones for a moment."""
    await exchange.proxy.pause(REFUSING_S)
    raise Ended


async def reset(exchange: Exchange) -> None:
    await exchange.maybe_reach_the_server()
    exchange.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
    raise Ended


async def stall(exchange: Exchange) -> None:
    """Send the whole reply, but late and in two parts."""
    reply = (await exchange.reply()).whole
    await asyncio.sleep(STALL_S)
    await exchange.send(reply[:100])
    await asyncio.sleep(STALL_S)
    await exchange.send(reply[100:])


async def time_out(exchange: Exchange) -> None:
    await exchange.maybe_reach_the_server()
    await asyncio.sleep(HELD_S)
    raise Ended


async def trickle(exchange: Exchange) -> None:
    """Send a reply byte by byte without ever finishing it."""
    reply = await exchange.reply()
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n")
    for at in range(int(HELD_S / STALL_S)):
        await exchange.send(reply.body[at : at + 1])
        await asyncio.sleep(STALL_S)
    raise Ended


async def too_many(exchange: Exchange) -> None:
    await exchange.answer(b'{"error": {"message": "slow down"}}', "429 Too Many Requests", "Retry-After: 0.02\r\n")


async def server_error(exchange: Exchange) -> None:
    await exchange.maybe_reach_the_server()
    status = exchange.chance.choice(["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"])
    await exchange.answer(b"<html>sorry</html>", status)


async def truncate(exchange: Exchange) -> None:
    """Break the connection in the middle of a body."""
    reply = await exchange.reply()
    await exchange.send(reply.head + reply.body[: exchange.chance.randrange(len(reply.body))])
    raise Ended


async def not_json(exchange: Exchange) -> None:
    """Send only the beginning of the body, with a correct length."""
    body = (await exchange.reply()).body
    await exchange.answer(body[: exchange.chance.randrange(len(body))])


async def wrong_schema(exchange: Exchange) -> None:
    await exchange.maybe_reach_the_server()
    await exchange.answer(json.dumps(exchange.chance.choice(SHAPES)).encode())


async def empty(exchange: Exchange) -> None:
    value = json.loads((await exchange.reply()).body)
    value["choices"][0]["message"] = {"role": "assistant", "content": exchange.chance.choice(["", None, " \n"])}
    await exchange.answer(json.dumps(value).encode())


async def duplicate(exchange: Exchange) -> None:
    """Send the same reply twice on one connection."""
    reply = (await exchange.reply()).whole
    await exchange.send(reply + reply)


FAULTS = (refuse, reset, stall, time_out, trickle, too_many, server_error, truncate, not_json, wrong_schema, empty,
          duplicate)  # fmt: skip
HARMLESS = {"", "stall", "duplicate"}  # the client gets its reply all the same


@dataclass
class Proxy:
    """Hits calls with faults, each at its own chance; seed, body and number of the repeat decide."""

    target: int  # port of the server
    seed: int
    chances: Mapping[str, float] = field(default_factory=dict)
    port: int = 0
    seen: Counter[str] = field(default_factory=Counter)  # hash of body → how often it came
    faults: Counter[str] = field(default_factory=Counter)  # by kind; "" for none
    served: Counter[str] = field(default_factory=Counter)  # hash → how often a whole reply went back
    connected: int = 0  # clients that have not gone yet, or whose last request is still on its way

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def pause(self, seconds: float) -> None:
        if self._server.is_serving():
            self._server.close()
            await asyncio.sleep(seconds)
            await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        try:
            while True:
                await self._pass_on(await read_message(reader), writer)
        except (Ended, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.connected -= 1

    async def _pass_on(self, request: Message, writer: asyncio.StreamWriter) -> None:
        key = hash_body(request.body)
        self.seen[key] += 1
        chance = random.Random(f"{self.seed} {key} {self.seen[key]}")
        hit = [f for f in FAULTS if request.body and chance.random() < self.chances.get(f.__name__, 0.0)]
        fault = chance.choice(hit) if hit else None
        exchange = Exchange(request, chance, writer, self._forward, self)
        self.faults[fault.__name__ if fault else ""] += 1
        if fault is None:
            await exchange.send((await exchange.reply()).whole)
        else:
            await fault(exchange)
        if not fault or fault.__name__ in HARMLESS:
            self.served[key] += 1

    async def _forward(self, request: Message) -> Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            writer.write(request.whole)
            return await read_message(reader)
        finally:
            writer.close()


async def read_message(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
    return Message(head, await reader.readexactly(int(lines.get(b"content-length", 0))))


def hash_body(body: bytes) -> str:
    """Hash the content of a request, whatever the order and spelling of its JSON."""
    return hashlib.sha256(json.dumps(json.loads(body or b"0"), sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def running(proxy: Proxy) -> Iterator[Proxy]:
    """Run the proxy in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.open(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _end_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
