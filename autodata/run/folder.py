"""Creates and reopens run folders: the manifest records what a run was made from and the hashes of its outputs.

A folder that was made from other inputs is refused, and only one process at a time may work in a folder.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autodata.config import RecipeError, semantic_values, to_yaml
from autodata.recipes.models import Models
from autodata.recipes.reading.kinds import COMMANDS, SCHEMAS
from autodata.run.locks import hold
from autodata.run.records import NoSuchRun, RunError, digest, hash_path, name_file_in_errors, read_json, write_file
from autodata.run.software import find_git_commit, list_versions
from autodata.serving.journal import is_empty

MANIFEST = "manifest.json"
# The kind of the runs that a command makes, as their manifests name it.
KINDS = {COMMANDS[SCHEMAS[kind]]: kind for kind in ("generate", "dataset", "eval", "grpo", "meta")}
_LONGEST = 300  # characters of a problem in the manifest that has no traceback
# How the last line of a traceback begins; vLLM puts the name of its process before each line.
_RAISED = re.compile(r"(?:\([^()]*\) )?(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b: ")
_SHOWN = 8  # differences between the inputs of two runs
_PARTS = {"inputs": dict, "outputs": dict, "sessions": list, "funnel": dict, "statistics": dict, "started": str}


class Run(AbstractContextManager):
    """A run folder that this process has locked.

    `inputs` is everything that can change the results: the recipe's semantic values and the hashes of the files that
    are read. A folder made from other inputs is never written into. The only exception are the keys in `repairs`:
    their value may be raised later, which only fills gaps and opens a finished run again.
    """

    def __init__(
        self, folder: str, kind: str, recipe: object, artefacts: Mapping[str, str], repairs: Collection[str] = ()
    ):
        self.folder = Path(folder)
        self.inputs = {"kind": kind, **semantic_values(recipe), **artefacts}
        self._recipe = recipe
        self._repairs = repairs
        self.measure_costs: Callable[[], Mapping[str, object]] = dict  # Progress sets it
        self._lock = hold(self.folder)
        try:
            self._manifest = _forget_failed_start(read_manifest(self.folder) or {}, self.folder)
            self._check_inputs()
        except RunError:
            self._lock.close()
            raise

    @property
    def is_finished(self) -> bool:
        return bool(self._manifest.get("finished"))

    def start(self) -> None:
        """Write the resolved recipe and the manifest, before any work is done."""
        self.write("recipe.yaml", to_yaml(self._recipe))
        self._manifest = {"started": tell_time()} | self._manifest
        self.note(inputs=self.inputs, git_commit=find_git_commit(), packages=list_versions(), finished=None)

    def finish(self, outputs: list[str], **facts: object) -> None:
        """Record the hashes of `outputs`, so that the next command knows what it reads."""
        self.note(outputs={name: hash_path(self.folder / name) for name in outputs}, finished=tell_time(), **facts)

    def note(self, **facts: object) -> None:
        """Add facts to the manifest and write it, always with the costs so far: a finished run never lacks them."""
        self._manifest |= {**facts, **self.measure_costs()}
        self.write(MANIFEST, json.dumps(self._manifest, indent=2, sort_keys=True) + "\n")

    @contextmanager
    def session(self, count: Callable[[], Mapping[str, int]]) -> Iterator[None]:
        """Record a session: its start, its end (unless it is killed), its counts, and the error that ended it."""
        session: dict[str, object] = {"started": tell_time()}
        self.note(sessions=[*self.sessions, session])
        try:
            yield
        except BaseException as problem:
            said = summarize_problem(str(problem))
            session["problem"] = f"{type(problem).__name__}: {said}" if said else type(problem).__name__
            raise
        finally:
            session |= {"ended": tell_time(), "counts": dict(count())}
            with suppress(RunError):  # an earlier error has reported the full disk
                self.note()

    @property
    def sessions(self) -> list[dict[str, Any]]:
        return list(self._manifest.get("sessions", []))

    def path(self, name: str) -> Path:
        """Return a path inside the run folder. Raises RunError if it would lie outside."""
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise RunError(f"{name}: this path is outside the run folder {self.folder}")
        return path

    def write(self, name: str, text: str) -> None:
        """Replace a file atomically."""
        write_file(self.path(name), text)

    def append(self, name: str, line: bytes) -> None:
        """Append a line to a JSONL file and wait until it is on disk."""
        path = self.path(name)
        with name_file_in_errors(path), path.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._lock.close()

    def _check_inputs(self) -> None:
        before = self._manifest.get("inputs")
        if before is None:
            return
        pairs = {key: [before.get(key), self.inputs.get(key)] for key in self._repairs}
        raised = {k: [o, n] for k, (o, n) in pairs.items() if isinstance(o, int) and isinstance(n, int) and n > o}
        repaired = before | {key: new for key, (_, new) in raised.items()}
        if raised and repaired == json.loads(json.dumps(self.inputs)):
            self._manifest |= {"repairs": [*self._manifest.get("repairs", []), raised], "finished": None}
        else:
            fix = f"name another folder with run=…; autodata.generate reuses the replies with fork={self.folder}"
            require_equal(self.folder, before, self.inputs, fix)


def summarize_problem(text: str) -> str:
    """Shorten an error to one line: its first one and, if a traceback follows, the exception at its end, whole."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [number for number, line in enumerate(lines) if _RAISED.match(line)]
    if len(lines) > 1 and raised:
        return " ".join([lines[0], *lines[max(raised[-1], 1) :]])
    short = " ".join(lines)
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"


def find_problem(manifest: Mapping[str, Any]) -> str:
    """Return the error that ended the last session of a run; empty if it ended well or was killed."""
    sessions = manifest.get("sessions") or [{}]
    return str(sessions[-1].get("problem") or "") if isinstance(sessions[-1], Mapping) else ""


def _forget_failed_start(manifest: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Forget the inputs of a run that ended before its first reply: nothing in its folder rests on them."""
    if manifest.get("finished") or manifest.get("outputs"):
        return manifest
    is_untouched = _has_empty_journal(folder) or _has_asked_nothing(manifest.get("sessions", []))
    return {key: value for key, value in manifest.items() if not (is_untouched and key == "inputs")}


def _has_empty_journal(folder: Path) -> bool:
    """True if a run asks models, and has stored neither a reply nor a record. Its journal may also lie elsewhere."""
    journal = folder / "journal.sqlite"
    return journal.is_file() and is_empty(journal) and not any(path.stat().st_size for path in folder.glob("*.jsonl"))


def _has_asked_nothing(sessions: list[Any]) -> bool:
    """True if all sessions ended before a reply. Sessions that were killed, or that count no calls, prove nothing."""
    counts = [session.get("counts") for session in sessions if isinstance(session, dict)]
    return bool(counts) and all(
        isinstance(c, dict) and "put_off" in c and not (c.get("calls") or c.get("replayed")) for c in counts
    )


def require_equal(folder: Path, before: Mapping[str, Any], inputs: Mapping[str, Any], fix: str = "") -> None:
    """Raise RunError with the differences if a folder was made from other inputs than these."""
    now = json.loads(json.dumps(inputs))
    if before != now:
        pairs = {key: (before.get(key), now.get(key)) for key in sorted({*before, *now})}
        lines = [f"  {key}: {_shorten(old)} → {_shorten(new)}" for key, (old, new) in pairs.items() if old != new]
        more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        reason = f"{folder} was made from other inputs" + (f"; {fix}. The inputs that differ:" if fix else ":")
        raise RunError("\n".join([reason, *lines[:_SHOWN], *more]))


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a run folder; None if there is none. Raises RunError if it is damaged."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict):
        problem = "not a JSON object"
    elif wrong := [name for name, kind in _PARTS.items() if not isinstance(manifest.get(name, kind()), kind)]:
        problem = f"wrong type of {', '.join(wrong)}"
    else:
        return manifest
    raise RunError(f"{path}: damaged ({problem}); restore it or name another run folder")


def find_runs(folder: Path, *, signs: Collection[str] = (MANIFEST,)) -> Iterator[Path]:
    """Find the run folders below a folder, in order: those with a file of `signs`, not hidden, not inside another."""
    for path, folders, files in os.walk(folder):
        if not {*files}.isdisjoint(signs):
            folders.clear()
            yield Path(path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def require_finished(folder: str, command: str) -> dict[str, Any]:
    """Read the manifest of a finished run. If it is not finished, raises RunError that names the `command` to run."""
    manifest = read_manifest(Path(folder))
    if manifest is None:
        raise NoSuchRun(f"{folder}: no such run; make it with {command}")
    kind, wanted = manifest.get("inputs", {}).get("kind"), KINDS.get(command)
    if wanted and kind and kind != wanted:
        raise NoSuchRun(f"{folder}: a run of kind {kind}; name one of kind {wanted}, which {command} makes")
    if not manifest.get("finished"):
        raise RunError(f"{folder}: not finished; run {command} again")
    return manifest


def output_hash(folder: str, command: str) -> str:
    """Hash all outputs of a finished run into one value. Raises RunError."""
    return digest(json.dumps(require_finished(folder, command)["outputs"], sort_keys=True).encode())


def identify_weights(models: Models) -> None:
    """Set the revision of every local weights folder to its content hash, so that new weights get new replies."""
    if models.replay:
        return  # the recipe names the revisions, and the weights need not be here
    for name, endpoint in models.endpoints.items():
        weights = endpoint.server.weights if endpoint.server else ""
        if weights and Path(weights).is_dir():
            endpoint.revision = hash_path(Path(weights))
        elif weights.count("/") > 1 or weights.startswith("."):  # a hub name is owner/name
            key = f"models.endpoints.{name}.server.weights={weights}"
            raise RecipeError(f"{key}: no such folder; train the model first")


def tell_time(timespec: str = "seconds") -> str:
    return datetime.now(UTC).isoformat(timespec=timespec)
