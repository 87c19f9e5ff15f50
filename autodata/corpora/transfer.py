"""One file over HTTP: into `name.part`, on from where it stopped, checked, and only then under its name."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from autodata.corpora.s2_api import Expired, refuse, retry

_MD5 = re.compile(r'"([0-9a-f]{32})"')  # an ETag that is one: not so for what S3 stored in parts
_CHUNK = 1 << 20
Show = Callable[[int, int | None], None]  # bytes so far, and of the whole file


class Damaged(RuntimeError):
    """What came is not what the server has; it was deleted."""


@dataclass(frozen=True)
class Transfer:
    """Where a file comes from and goes to."""

    url: str
    target: Path
    timeout_s: float
    retries: int

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def tag(self) -> Path:
        """Holds the ETag of what the part is a part of."""
        return self.target.with_name(f"{self.target.name}.part.tag")


def fetch(transfer: Transfer, show: Show) -> tuple[int, str]:
    """Bytes and SHA-256 of the file, complete and checked. Raises Expired, Damaged, DownloadError, OSError.

    The file's own host never sees the key of the API.
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
    """All that is left of the file; its length and ETag. A connection that breaks raises, and the part stays."""
    have = transfer.part.stat().st_size if transfer.part.exists() and transfer.tag.exists() else 0
    headers = {"accept-encoding": "identity"}
    if have:
        headers |= {"range": f"bytes={have}-", "if-range": transfer.tag.read_text()}
    with http.stream("GET", transfer.url, headers=headers) as answer:
        if answer.status_code in (400, 403):  # S3 says either of an address that has expired
            raise Expired
        if answer.status_code == 416:  # the part is as long as the file, or longer: the check tells
            return _read_total(answer), transfer.tag.read_text()
        refuse(answer)
        is_rest = answer.status_code == 206 and have > 0
        tag = answer.headers.get("etag", "")
        total = _read_total(answer)
        if tag:
            transfer.tag.write_text(tag)
        else:
            transfer.tag.unlink(missing_ok=True)  # without one, what comes later may be of another file
        with transfer.part.open("ab" if is_rest else "wb") as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
                show(file.tell(), total)
            file.flush()
            os.fsync(file.fileno())
    return total, tag


def _read_total(answer: httpx.Response) -> int | None:
    """Length of the whole file, where the server says it."""
    stated = answer.headers.get("content-range", "").rpartition("/")[2] or answer.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else None


def _check(path: Path, total: int | None, tag: str) -> str:
    """SHA-256. Raises Damaged when the length, the MD5 in the ETag, or the checksum inside a .gz is wrong."""
    if total is not None and path.stat().st_size != total:
        raise Damaged(f"{path.stat().st_size:,} bytes instead of {total:,}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stated = _MD5.fullmatch(tag)
    if stated:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() != stated[1]:
                raise Damaged("its MD5 is not that of its ETag")
    if path.name.endswith(".gz.part"):
        _decompress(path)
    return digest


def _decompress(path: Path) -> None:
    try:
        with gzip.open(path) as file:
            while file.read(_CHUNK):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Damaged(f"not a whole gzip file: {error}") from error
