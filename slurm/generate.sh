#!/usr/bin/env bash
#SBATCH --job-name=autodata-generate
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Generates with the servers it needs: bash slurm/generate.sh [--option=… of sbatch] RECIPE [more.yaml …] [key=value …]
# To print every job without submitting any: bash slurm/generate.sh --dry-run RECIPE …
# To run 16 shards as a job array, write %a for a shard's number:
#   bash slurm/generate.sh --array=1-16 RECIPE documents.shard=%a/16
# Then join them: bash slurm/run.sh autodata.merge RECIPE. Each shard has its own servers; if one fails, submit only
# that one again, for example with --array=3.
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
enter generate "$@"
exec "$python" -m autodata.cluster.commands autodata.generate "${@//%a/${SLURM_ARRAY_TASK_ID:-%a}}"
