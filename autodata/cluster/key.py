"""The key of a run's servers: everybody on the cluster can reach their ports, only the run may use them."""

import os
import secrets
from pathlib import Path

VARIABLE = "AUTODATA_SERVER_KEY"  # what api_key_env of a served endpoint is set to


def make_key(run: Path) -> None:
    """Put the run's key into the environment; the first time, into a file that only its owner reads."""
    path = _locate_key(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass  # a requeued campaign finds its servers again, and so their key
    os.environ[VARIABLE] = path.read_text()


def require_key(run: Path) -> None:
    """The same key for the calls of this process and for the vLLM servers that it starts."""
    os.environ[VARIABLE] = os.environ["VLLM_API_KEY"] = _locate_key(run).read_text()


def _locate_key(run: Path) -> Path:
    return run / "serving" / "key"
