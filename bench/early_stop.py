"""Solver tokens that exact early stop saves, computed from the attempts of a finished run.

    python bench/early_stop.py runs/demo/agentic

The run made all attempts. For each stage this finds the first attempt after which the verdict in force could
not change any more, counts the tokens of the attempts after it, and checks that the verdict stays the same.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from autodata import acceptance, store
from autodata.acceptance import Gate
from autodata.types import TRAJECTORY, Attempt, Candidate, Round


def count_needed(candidate: Candidate, tried: Round, gate: Gate) -> tuple[int, int, bool]:
    """Weak and strong attempts that settle the verdict, and whether it is the one of all attempts."""
    weak, strong = (acceptance.scores(candidate, side) for side in (tried.weak, tried.strong))
    for made in range(1, len(weak) + 1):
        verdict = acceptance.settle_weak(weak[:made], len(weak), gate)
        if verdict:
            return made, 0, verdict.failure is tried.verdict.failure
    for made in range(1, len(strong) + 1):
        verdict = acceptance.settle(weak, strong[:made], len(strong), gate)
        if verdict:
            return len(weak), made, verdict.failure is tried.verdict.failure
    return len(weak), len(strong), True


def tokens(attempts: Sequence[Attempt]) -> int:
    return sum(a.prompt_tokens + a.completion_tokens for a in attempts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    domain = OmegaConf.load(run / "recipe.yaml").domain
    gate = Gate(**domain.presets[domain.preset])
    spent = kept = attempts = needed = changed = 0
    for trajectory in store.read_records(run / "trajectories.jsonl", TRAJECTORY):
        for tried in trajectory.rounds:
            if tried.candidate and tried.weak:
                weak, strong, is_same = count_needed(tried.candidate, tried, gate)
                spent += tokens(tried.weak) + tokens(tried.strong)
                kept += tokens(tried.weak[:weak]) + tokens(tried.strong[:strong])
                attempts, needed = attempts + len(tried.weak) + len(tried.strong), needed + weak + strong
                changed += not is_same
    print(f"{run}: {needed} of {attempts} attempts needed, {kept} of {spent} solver tokens "
          f"({1 - kept / max(spent, 1):.1%} saved); verdicts changed: {changed}")  # fmt: skip


if __name__ == "__main__":
    main()
