#!/usr/bin/env bash
#SBATCH --job-name=autodata-run
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=04:00:00
#SBATCH --open-mode=append --output=runs/slurm-%x-%j.log
# Runs a command as one job: sbatch slurm/run.sh autodata.dataset RECIPE [key=value …]
# A command that starts its own servers needs GPUs in this job: sbatch --gpus-per-node=1 slurm/run.sh autodata.generate …
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
exec "$python" -m "$@"
