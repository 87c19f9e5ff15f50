#!/usr/bin/env bash
#SBATCH --job-name=autodata-train
#SBATCH --nodes=1 --ntasks-per-node=1 --gpus-per-node=8 --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append --output=runs/slurm-%x-%j.log
# Trains with GRPO on one node or several: sbatch [--nodes=N] slurm/train.sh RECIPE [key=value …]
# AUTODATA_ACCELERATE names the accelerate file; nodes, ranks and addresses come from Slurm. The same command resumes.
# Start the judge first: slurm/judge.sh with the same arguments, or name one with models.endpoints.….base_url=…
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
export AUTODATA_ACCELERATE=${AUTODATA_ACCELERATE:-recipes/accelerate/zero2.yaml} python
export MASTER_ADDR=${AUTODATA_ADDRESS:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -1)}
# One process per GPU; if the job has no GPU, as many processes as the accelerate file names for one node.
export PROCESSES=${SLURM_GPUS_ON_NODE:+--num_processes $((SLURM_NNODES * SLURM_GPUS_ON_NODE))}
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
# USR1 comes shortly before the job's time is over: the job is requeued and resumes from its last checkpoint.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
# Single quotes, because each task must read its own rank, not the rank of this shell.
srun --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c '
    exec "$python" -m accelerate.commands.launch --config_file "$AUTODATA_ACCELERATE" \
        $PROCESSES --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_PROCID" \
        --main_process_ip "$MASTER_ADDR" --main_process_port "$MASTER_PORT" training/grpo.py "$@"' bash "$@" &
wait $!
