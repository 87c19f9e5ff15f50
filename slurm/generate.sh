#!/usr/bin/env bash
#SBATCH --job-name=autodata-generate
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Generation with its servers: sbatch slurm/generate.sh RECIPE [more.yaml …] [key=value …]
# bash slurm/generate.sh --dry-run RECIPE … prints every job without submitting any.
# As an array of shards, %a being the number of each: sbatch --array=1-16 slurm/generate.sh RECIPE documents.shard=%a/16
# Then slurm/run.sh autodata.merge RECIPE. Each shard has its own servers; a failed one is submitted again by itself.
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
exec "$python" -m autodata.cluster.campaign autodata.generate "${@//%a/${SLURM_ARRAY_TASK_ID:-%a}}"
