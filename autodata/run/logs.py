"""Keeps what libraries log in a file of the run, so that a terminal shows what its reader can act on.

Warnings of this project and all errors are shown as well; nothing is lost.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autodata.run.records import name_file_in_errors

LOG = "log.txt"
_FORM = "%(levelname)s %(name)s: %(message)s"  # as autodata.command prints warnings


@contextmanager
def keep_logs(folder: Path) -> Iterator[None]:
    """Write all warnings to log.txt in a folder, those of other processes of a training to log_1.txt and so on."""
    rank = os.environ.get("RANK", "0")  # as accelerate sets it
    with name_file_in_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(folder / (LOG if rank == "0" else f"log_{rank}.txt"), encoding="utf-8", delay=True)
    screen, root = logging.StreamHandler(sys.stderr), logging.getLogger()
    file.setFormatter(logging.Formatter(f"%(asctime)s {_FORM}"))
    screen.setFormatter(logging.Formatter(_FORM))
    screen.addFilter(is_shown)
    root.addHandler(file)
    root.addHandler(screen)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(file)
        root.removeHandler(screen)
        file.close()


def is_shown(record: logging.LogRecord) -> bool:
    """True if a terminal shows a record: warnings of this project, and every error."""
    return record.name.partition(".")[0] == "autodata" or record.levelno >= logging.ERROR


def quiet_transformers() -> None:
    """Let transformers log to the run's file and draw no progress bars between ours."""
    from transformers.utils import logging as theirs  # slow to import

    theirs.disable_default_handler()
    theirs.enable_propagation()
    theirs.disable_progress_bar()
