#!/usr/bin/env bash
#SBATCH --job-name=autodata-judge
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=16G --time=48:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# The judge of a training, until that is finished: sbatch slurm/judge.sh RECIPE [more.yaml …] [key=value …]
# Give slurm/train.sh the same arguments; it finds the judge in the run folder.
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
exec "$python" -m autodata.cluster.campaign autodata.cluster.hold "$@"
