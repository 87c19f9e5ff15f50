#!/usr/bin/env bash
#SBATCH --job-name=autodata-ingest
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=8G --time=2-00:00:00
#SBATCH --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Ingests a corpus. This small job submits job arrays, whose resources the recipe names under slurm, and waits for them:
#   bash slurm/ingest.sh [--option=… of sbatch] RECIPE [more.yaml …] [key=value …]
# To print this job without submitting it: bash slurm/ingest.sh --dry-run RECIPE …
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
enter ingest "$@"
# The submitted jobs must not inherit this job's SLURM_ variables: memory per node and per CPU exclude each other.
for name in $(compgen -v SLURM_); do [ "$name" = SLURM_CONF ] || unset "$name"; done
exec "$python" -m autodata.corpora.ingest "$@" executor=slurm
