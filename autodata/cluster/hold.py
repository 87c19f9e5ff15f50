"""Waits until the recipe's run has finished, so that the campaign around it keeps the servers up.

python -m autodata.cluster.hold RECIPE [more.yaml …] [key=value …]

slurm/judge.sh runs it. The recipe's run finds the servers by their leases.
"""

import time
from pathlib import Path

from autodata import command
from autodata.config import load, schema_for
from autodata.run.folder import read_manifest

_POLL_S = 5.0


@command.report_errors()
def main() -> None:
    arguments = command.read_recipe(__doc__)
    try:
        run = Path(load(schema_for(arguments[0]), arguments).run)
        while not (read_manifest(run) or {}).get("finished"):
            time.sleep(_POLL_S)
        print(f"{run} is finished")
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
