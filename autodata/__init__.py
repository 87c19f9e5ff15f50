"""Autodata turns documents into training data of the right difficulty, and measures what this data teaches a model.

The files at the top are commands (`python -m autodata.generate RECIPE`), except two: `types` defines the records, in
the order in which they are made, and `command` is the frame of all commands. The folders hold the parts; some of them
are commands too (`python -m autodata.report RUN`).

    recipes/      defines every key of a recipe, with one schema per command; `reading` finds the files and reads them
    stats/        computes intervals and agreement, and writes numbers and tables
    serving/      sends one request to one model: reply, journal, retries, costs, and the vLLM servers
    run/          manages a run folder: its records, its manifest, and how far the run is
    corpora/      texts → documents
    loop/         document → trajectory: the rounds of the paper's Figure 2 (`harness`), who directs them
                  (`orchestrator`), the agents, and the acceptance rule
    domains/      cs, legal, science, and skills of the demo and the study: their prompts, thresholds and special rules
    data/         trajectory → example → what is published
    meta/         runs the outer loop, which evolves the data scientist's own prompts
    cluster/      runs the same commands on Slurm and keeps their servers up
    judge_audit/  measures how far a judge agrees with itself and with another judge
    plan/         estimates calls, tokens and hours before a run
    doctor/       checks what would go wrong before a run
    report/       writes one HTML file that explains a run
    reproduce/    makes a table of the paper, from the corpus on: here, or by the jobs of a cluster
    journal/      looks at stored replies, exports and repairs them
    replay/       makes published runs again from stored replies

`training/` (GRPO) and `eval/` (benchmarks and the paper's tables) stand beside this package and import from it.
"""
