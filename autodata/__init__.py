"""Autodata turns documents into training data of the right difficulty, and measures what that data teaches a model.

Files at the top are commands (`python -m autodata.generate RECIPE`), but for two: `types` has the records in the order
in which they are made, `config` reads recipes. The folders are what the commands are made of:

    recipes/      every key that can stand in a recipe, one schema per command
    stats/        intervals, agreement, and how numbers and tables are written
    serving/      one question to one model: request, reply, journal, retries, costs, and the vLLM servers
    run/          a run folder: its records, its manifest, and how far the run is
    corpora/      texts → documents
    loop/         document → trajectory: the round of the paper's figure (`harness`), who directs it (`orchestrator`),
                  the agents, and the acceptance rule
    domains/      cs, legal, science and the demo's cloze: prompts, thresholds, and what is special to each
    data/         trajectory → example → what is published
    meta/         the outer loop, which evolves the data scientist's own prompts
    cluster/      the same commands on Slurm, with servers that are kept up
    judge_audit/  how far a judge agrees with itself and with another
    plan/         calls, tokens and hours, before a run
    doctor/       what would go wrong, before a run
    report/       one HTML file that explains a run

`training/` (GRPO) and `eval/` (benchmarks and the paper's tables) stand beside this package and import from it.
"""
