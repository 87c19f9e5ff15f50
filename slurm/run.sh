#!/usr/bin/env bash
#SBATCH --job-name=autodata-run
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=04:00:00
#SBATCH --open-mode=append --output=runs/slurm-%x-%j.log
# Runs a command as one job: bash slurm/run.sh [--option=… of sbatch] MODULE [RECIPE or RUN …] [key=value …]
# If the command starts servers, they run inside the job, which gets the GPUs that they need:
#   bash slurm/run.sh autodata.generate RECIPE recipes/models/one_gpu.yaml
# To print the job without submitting it: bash slurm/run.sh --dry-run MODULE …
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
enter run "$@"
exec "$python" -m "$@"
