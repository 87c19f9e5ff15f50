#!/usr/bin/env bash
# Runs replicas of one endpoint on one node: serve.sh RUN ENDPOINT REPLICAS. A campaign or a training starts it; users do
# not.
set -euo pipefail
source "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}/slurm/common.sh"
enter serve "$@"
exec "$python" -m autodata.cluster.serve "$@"
