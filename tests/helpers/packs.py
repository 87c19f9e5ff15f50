"""Writes packs by hand, good ones and those of a stranger."""

import json
import zipfile
from pathlib import Path


def write_pack(file: Path, members: dict[str, str | bytes] | None = None, **changes: object) -> Path:
    """Write a pack without any run; `changes` are of its description, `members` are more files."""
    content = {"version": 1, "git_commit": None, "steps": [], "documents": {}} | changes
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pack.json", json.dumps(content))
        for name, text in (members or {}).items():
            archive.writestr(name, text)
    return file
