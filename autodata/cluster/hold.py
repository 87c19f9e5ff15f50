"""Nothing, until the run of a recipe is finished: a campaign around it keeps up the servers that the run calls.

python -m autodata.cluster.hold RECIPE [more.yaml …] [key=value …]

Run by slurm/judge.sh. The run finds the servers by their leases.
"""

import sys
import time
from pathlib import Path

from autodata.config import RecipeError, load, schema_for
from autodata.run.folder import read_manifest

_POLL_S = 5.0


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        run = Path(load(schema_for(sys.argv[1]), sys.argv[1:]).run)
        while not (read_manifest(run) or {}).get("finished"):
            time.sleep(_POLL_S)
        print(f"{run} is finished")
    except RecipeError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
