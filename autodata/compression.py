"""Replies as a journal stores them: JSON, compressed against what nearly all of them share."""

import zstandard

from autodata.types import REPLY, Reply

# A reply of a few words is mostly the names of its fields. Never edit this: older journals were written with it.
_SHARED = zstandard.ZstdCompressionDict(
    b'"empty"refusal"outcome":"truncated"finish_reason":"length"'
    b'{"outcome":"ok","content":"","reasoning":"","finish_reason":"stop","model":"","prompt_tokens":0,'
    b'"completion_tokens":0,"latency_s":0.0,"tool":"","arguments":""}',
    dict_type=zstandard.DICT_TYPE_RAWCONTENT,
)
_MOST = 1 << 28  # bytes; what a damaged row says of its size is not believed


def compress(reply: Reply) -> bytes:
    return zstandard.ZstdCompressor(level=3, dict_data=_SHARED).compress(REPLY.dump_json(reply))


def decompress(stored: object) -> Reply:
    """A reply from its row; text is how version 1 stored it. Raises ValueError on a damaged one."""
    if isinstance(stored, str):
        return REPLY.validate_json(stored)
    if not isinstance(stored, bytes):
        raise ValueError(f"a row with {type(stored).__name__} for a reply")
    try:
        if zstandard.frame_content_size(stored) > _MOST:
            raise ValueError("a reply of a size that none has")
        return REPLY.validate_json(zstandard.ZstdDecompressor(dict_data=_SHARED).decompress(stored))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
