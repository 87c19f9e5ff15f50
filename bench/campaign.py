"""Measures the time that a campaign on Slurm loses before its first call, and between its end and the last GPU's.

    python -m bench.campaign [--kill]

It starts a real Slurm on this machine (needs root, slurm-wlm and munge) and servers that stand in for vLLM. With
--kill a replica is killed in mid-run, and the calls of that run are compared with those of an undisturbed one.
"""

import argparse
import os
import re
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.slurm.cluster import running
from tests.slurm.test_campaign import Campaign, find_servers


def read_keys(campaign: Campaign) -> set[str]:
    """Read the keys of the calls in the journal."""
    path = campaign.run / "journal.sqlite"
    if not path.exists():
        return set()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return {key for (key,) in connection.execute("SELECT key FROM replies")}
    except sqlite3.OperationalError:
        return set()  # the journal is just being created
    finally:
        connection.close()


def wait(condition: Callable[[], object]) -> float:
    """Wait until `condition` returns something true; return the time."""
    while not condition():
        time.sleep(0.05)
    return time.monotonic()


def measure(campaign: Campaign, kill: bool) -> None:
    ready = wait(lambda: len(campaign.ready("weak")) == 2 and campaign.ready("small"))
    called = wait(lambda: read_keys(campaign))
    print(f"from the last replica ready to the first reply in the journal: {called - ready:.1f} s")
    if kill:
        kill_replica(campaign)
    ended = wait(lambda: campaign.cluster.states(campaign.job) == ["COMPLETED"])
    released = wait(lambda: not campaign.cluster.squeue() and not find_servers(campaign.cluster))
    print(f"from the end of the client to the end of the last server job: {released - ended:.1f} s")


def kill_replica(campaign: Campaign) -> None:
    port = re.search(r":(\d+)/v1", campaign.ready("weak")[0].url)[1]
    for pid in find_servers(campaign.cluster):
        line = Path(f"/proc/{pid}/cmdline").read_text()
        if f"--port\0{port}" in line and "api_server" in line:
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill", action="store_true", help="also measure a run in which a replica is killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), nodes=6, gpus=1) as cluster:
        calls = []
        for name in ("undisturbed", "killed") if options.kill else ("undisturbed",):
            print(name)
            (Path(folder) / name).mkdir()
            campaign = Campaign(cluster, Path(folder) / name, STAND_IN_DELAY_S="0.3")
            measure(campaign, kill=name == "killed")
            calls.append(read_keys(campaign))
        if options.kill:
            print(
                f"calls of the undisturbed run: {len(calls[0]):,}; of these missing after the kill: "
                f"{len(calls[0] - calls[1]):,}; calls made only after the kill: {len(calls[1] - calls[0]):,}"
            )


if __name__ == "__main__":
    main()
