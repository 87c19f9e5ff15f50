"""Downloads one file over HTTP: resumes `name.part`, checks it, and only then gives it its final name."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx

from autodata.corpora.remote.s2_api import Expired, require_data, retry

_MD5 = re.compile(r'"([0-9a-f]{32})"')  # an ETag that is an MD5; for a file that S3 stored in parts it is not
Show = Callable[[int, int | None], None]  # called with the bytes so far and the size of the file, if known


class Damaged(RuntimeError):
    """The downloaded bytes are not those of the server; they were deleted."""


def fetch(http: httpx.Client, url: str, target: Path, retries: int, show: Show) -> tuple[int, str]:
    """Download and check a file, and return its size and SHA-256. Raises Expired, Damaged, DownloadError, OSError."""
    part = target.with_name(f"{target.name}.part")
    total, tag = retry(retries, lambda: _receive(http, url, part, show))
    try:
        digest = _check(part, total, tag)
    except Damaged:
        part.unlink(missing_ok=True)
        raise
    size = part.stat().st_size
    part.replace(target)
    _tag_file(part).unlink(missing_ok=True)
    return size, digest


def _tag_file(part: Path) -> Path:
    """Return the path of the file with the ETag: the part belongs to the version of the file with this ETag."""
    return part.with_name(f"{part.name}.tag")


def _receive(http: httpx.Client, url: str, part: Path, show: Show) -> tuple[int | None, str]:
    """Download the rest of the file, and return its length and ETag. If the connection breaks, the part stays."""
    tag_file = _tag_file(part)
    received = part.stat().st_size if part.exists() and tag_file.exists() else 0
    headers = {"accept-encoding": "identity"}
    if received:
        headers |= {"range": f"bytes={received}-", "if-range": tag_file.read_text()}
    with http.stream("GET", url, headers=headers) as response:
        if response.status_code in (400, 401, 403):  # S3's answers to an expired address; a hub's without a token
            raise Expired
        if response.status_code == 416:  # the part is as long as the file or longer; `_check` finds out
            return _read_total(response), tag_file.read_text()
        require_data(response)
        is_rest = response.status_code == 206 and received > 0
        total, tag = _read_total(response), response.headers.get("etag", "")
        if tag:
            tag_file.write_text(tag)
        else:
            tag_file.unlink(missing_ok=True)  # without an ETag, later bytes may come from another file
        with part.open("ab" if is_rest else "wb") as file:
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
                while unpacked.read(1 << 20):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(f"incomplete or broken gzip file: {error}") from error
    return digest
