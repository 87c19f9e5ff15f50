#!/usr/bin/env bash
# Submits all jobs that a table of the paper needs, from the corpus to the table; run it where jobs are submitted:
#   bash slurm/reproduce.sh recipes/tables/table2.yaml recipes/models/paper.yaml [corpus=FOLDER] [--dry-run]
# --scale small runs the same steps with the embedded model on the demo's documents, and does not read MODELS.
# The same command again skips what is finished, keeps the jobs in the queue, and submits those that died.
set -euo pipefail
source "$(dirname "$0")/common.sh"
guide reproduce "$@"
require_python
exec "$python" -m autodata.reproduce "$@"
