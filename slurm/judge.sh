#!/usr/bin/env bash
#SBATCH --job-name=autodata-judge
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=48:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Serves a training's judge until the training is finished: sbatch slurm/judge.sh RECIPE [more.yaml …] [key=value …]
# Start slurm/train.sh with the same arguments: it finds the judge by the run folder.
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
exec "$python" -m autodata.cluster.campaign autodata.cluster.hold "$@"
