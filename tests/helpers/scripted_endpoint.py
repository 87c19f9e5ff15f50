"""Serves the product's scripted endpoint on loopback for the length of a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from autodata.serving import scripted


@contextmanager
def serve_scripted() -> Iterator[str]:
    """Yield the address of a scripted endpoint that answers every role."""
    server = scripted.Server(0)
    threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
