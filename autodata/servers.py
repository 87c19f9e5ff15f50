"""Start the vLLM servers of a recipe on this machine, watch them, and stop them when this command ends.

    python -m autodata.servers recipes/demo/generate.yaml   # keeps the servers up until Ctrl-C, for several commands

It prints `models.endpoints.<name>.base_url=…` for each server. Append these settings to the other commands.
"""

import asyncio
import signal
from pathlib import Path

from autodata import command
from autodata.config import load
from autodata.recipes.generation import GenerateRecipe
from autodata.serving.vllm import running, watch
from autodata.types import Role


@command.report_errors()
def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    recipe = load(GenerateRecipe, command.read_recipe(__doc__))
    try:
        folder = Path(recipe.run)
        folder.mkdir(parents=True, exist_ok=True)
        with running(recipe.models, Role, folder) as servers:
            for server in servers:
                print(f"models.endpoints.{server.name}.base_url={server.endpoint.base_url}", flush=True)
            asyncio.run(watch(servers))
    except KeyboardInterrupt:
        print("servers stopped")


if __name__ == "__main__":
    main()
