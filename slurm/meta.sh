#!/usr/bin/env bash
#SBATCH --job-name=autodata-meta
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Runs meta-optimisation with its servers: bash slurm/meta.sh [--option=… of sbatch] RECIPE [more.yaml …] [key=value …]
# To print every job without submitting any: bash slurm/meta.sh --dry-run RECIPE …
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
enter meta "$@"
exec "$python" -m autodata.cluster.commands autodata.meta.optimize "$@"
