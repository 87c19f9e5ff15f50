"""Downloads one file over HTTP: resumes `name.part`, checks it, and only then gives it its final name."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from autodata.corpora.s2_api import Expired, require_data, retry

_MD5 = re.compile(r'"([0-9a-f]{32})"')  # an ETag that is an MD5; for a file that S3 stored in parts it is not
_CHUNK = 1 << 20
Show = Callable[[int, int | None], None]  # called with the bytes so far and the size of the file, if known


class Damaged(RuntimeError):
    """The downloaded bytes are not those of the server; they were deleted."""


@dataclass(frozen=True)
class Transfer:
    """The address of a file, the path to save it to, and the limits of the transfer."""

    url: str
    target: Path
    timeout_s: float
    retries: int

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def tag(self) -> Path:
        """The path of the file that holds the ETag: the part belongs to the version of the file with this ETag."""
        return self.target.with_name(f"{self.target.name}.part.tag")


def fetch(transfer: Transfer, show: Show) -> tuple[int, str]:
    """Download and check a file, and return its size and SHA-256. Raises Expired, Damaged, DownloadError, OSError.

    The API key is never sent to the host of the file.
    """
    with httpx.Client(timeout=transfer.timeout_s) as http:
        total, tag = retry(transfer.retries, lambda: _receive(http, transfer, show))
    try:
        digest = _check(transfer.part, total, tag)
    except Damaged:
        transfer.part.unlink(missing_ok=True)
        raise
    size = transfer.part.stat().st_size
    transfer.part.replace(transfer.target)
    transfer.tag.unlink(missing_ok=True)
    return size, digest


def _receive(http: httpx.Client, transfer: Transfer, show: Show) -> tuple[int | None, str]:
    """Download the rest of the file, and return its length and ETag. If the connection breaks, the part stays."""
    received = transfer.part.stat().st_size if transfer.part.exists() and transfer.tag.exists() else 0
    headers = {"accept-encoding": "identity"}
    if received:
        headers |= {"range": f"bytes={received}-", "if-range": transfer.tag.read_text()}
    with http.stream("GET", transfer.url, headers=headers) as response:
        if response.status_code in (400, 403):  # S3's answers to an expired address
            raise Expired
        if response.status_code == 416:  # the part is as long as the file or longer; `_check` finds out
            return _read_total(response), transfer.tag.read_text()
        require_data(response)
        is_rest = response.status_code == 206 and received > 0
        tag = response.headers.get("etag", "")
        total = _read_total(response)
        if tag:
            transfer.tag.write_text(tag)
        else:
            transfer.tag.unlink(missing_ok=True)  # without an ETag, later bytes may come from another file
        with transfer.part.open("ab" if is_rest else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                show(file.tell(), total)
            file.flush()
            os.fsync(file.fileno())
    return total, tag


def _read_total(response: httpx.Response) -> int | None:
    """Read the length of the whole file from the headers; None if the server does not state it."""
    stated = response.headers.get("content-range", "").rpartition("/")[2] or response.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else None


def _check(path: Path, total: int | None, tag: str) -> str:
    """Return the SHA-256. Raises Damaged if the length, the MD5 in the ETag, or the checksum of a .gz is wrong."""
    if total is not None and path.stat().st_size != total:
        raise Damaged(f"{path.stat().st_size:,} bytes instead of {total:,}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if stated := _MD5.fullmatch(tag):
        with path.open("rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() != stated[1]:
                raise Damaged("its MD5 differs from its ETag")
    if path.name.endswith(".gz.part"):
        try:
            with gzip.open(path) as unpacked:
                while unpacked.read(_CHUNK):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(f"incomplete or broken gzip file: {error}") from error
    return digest
