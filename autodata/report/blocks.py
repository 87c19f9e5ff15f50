"""Records packed into a page: compressed blocks, of which a browser unpacks only the one that is opened."""

import base64
import gzip

BLOCK_BYTES = 256 * 1024  # of JSON, before compression: what opening one record has to unpack


class Blocks:
    """Records of JSON in the order in which they are added."""

    def __init__(self) -> None:
        self.packed: list[str] = []
        self._open: list[bytes] = []
        self._size = 0

    def add(self, record: bytes) -> dict[str, int]:
        """Where the record will be found."""
        where = {"block": len(self.packed), "at": len(self._open)}
        self._open.append(record)
        self._size += len(record)
        if self._size > BLOCK_BYTES:
            self.close()
        return where

    def close(self) -> None:
        """Pack what is left."""
        if self._open:
            self.packed.append(pack(b"[" + b",".join(self._open) + b"]"))
            self._open, self._size = [], 0


def pack(data: bytes) -> str:
    """Bytes as text that can stand anywhere in a page: no character of it means anything to a browser."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()
