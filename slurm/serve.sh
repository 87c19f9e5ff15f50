#!/usr/bin/env bash
# Runs the replicas of one endpoint on one node: serve.sh RUN ENDPOINT REPLICAS. A campaign submits it; users do not.
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-.}/slurm/common.sh"
exec "$python" -m autodata.cluster.serve "$@"
