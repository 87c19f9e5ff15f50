"""Keeps a second call of this command out of the folder in which the first one works."""

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from autodata.reproduce.request import Request
from autodata.run.folder import tell_time
from autodata.run.locks import hold

_COMMAND_CHARS = 200  # how much is shown of the command line of a process that works in a folder
_SUBMISSION = ".submission"  # beside the folders of the tables


@contextmanager
def hold_alone(request: Request, is_local: bool) -> Iterator[None]:
    """Keep other calls of this command out while this one looks at the runs and submits their jobs, or runs the steps.

    Tables share runs, so only one call at a time may submit jobs of the same `runs`. A --local run keeps the folder of
    its own table for as long as it works. Raises RunError, which names the command that works there.
    """
    holder = name_command()
    with hold(request.folder.parent / _SUBMISSION, holder):
        own = hold(request.folder, holder)
        if not is_local:
            own.close()  # no --local works here, and none can begin; autodata.status knows one by this lock
            yield
            return
    with own:
        yield


def name_command() -> str:
    """Name this process for others that want its folder."""
    command = shlex.join(sys.orig_argv)[:_COMMAND_CHARS]
    return f"process {os.getpid()} on {socket.gethostname()} since {tell_time()}: {command}"
