"""vLLM servers on this machine: started, probed, watched and stopped with the command they serve.

    python -m autodata.servers recipes/demo/generate.yaml   # serve until Ctrl-C, for several commands

It prints `models.endpoints.<name>.base_url=…` for each server: append that to the other commands.
"""

import asyncio
import signal
import sys
from pathlib import Path

from autodata.config import RecipeError, load
from autodata.recipes.generation import GenerateRecipe
from autodata.serving.measured import EndpointError
from autodata.serving.vllm import ServerError, running, watch
from autodata.types import Role


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        recipe = load(GenerateRecipe, sys.argv[1:])
        folder = Path(recipe.run)
        folder.mkdir(parents=True, exist_ok=True)
        with running(recipe.models, Role, folder) as servers:
            for server in servers:
                print(
                    f"models.endpoints.{server.name}.base_url={server.endpoint.base_url}",
                    flush=True,
                )
            asyncio.run(watch(servers))
    except KeyboardInterrupt:
        print("stopped")
    except (RecipeError, ServerError, EndpointError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
