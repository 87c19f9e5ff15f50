#!/usr/bin/env bash
#SBATCH --job-name=autodata-train
#SBATCH --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 --cpus-per-task=64 --mem=0 --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Trains with GRPO and serves its judge, in one job: bash slurm/train.sh [--option=… of sbatch] RECIPE MODELS [key=value …]
# The job has the nodes that training and judge need together; --nodes=N gives the training N of them.
# AUTODATA_ACCELERATE names another accelerate file. The same command goes on from the last checkpoint.
# To print the job and its steps without submitting it: bash slurm/train.sh --dry-run RECIPE …
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
enter train "$@"
exec "$python" -m autodata.cluster.training.job "$@"
