#!/usr/bin/env bash
#SBATCH --job-name=autodata-run
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=04:00:00
#SBATCH --open-mode=append --output=runs/slurm-%x-%j.log
# Runs a command that needs no servers: sbatch slurm/run.sh autodata.dataset RECIPE [key=value …]
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
exec "$python" -m "$@"
