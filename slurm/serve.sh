#!/usr/bin/env bash
# The replicas of one endpoint on one node: serve.sh RUN ENDPOINT REPLICAS. Submitted by a campaign, not by hand.
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-.}/slurm/common.sh"
exec "$python" -m autodata.cluster.serve "$@"
