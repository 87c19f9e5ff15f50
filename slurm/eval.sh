#!/usr/bin/env bash
#SBATCH --job-name=autodata-eval
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Runs an evaluation with its servers: bash slurm/eval.sh [--option=… of sbatch] RECIPE [more.yaml …] [key=value …]
# Several that share the servers of judge and graders: bash slurm/eval.sh RECIPE … --and RECIPE …
# To print every job without submitting any: bash slurm/eval.sh --dry-run RECIPE …
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
enter eval "$@"
exec "$python" -m autodata.eval.campaign "$@"
