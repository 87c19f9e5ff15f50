#!/usr/bin/env bash
# All tests that this machine can run. As root with apt, what marked tests need is installed first.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(slurm-wlm munge chromium)
have() {
    local program
    for program in sbatch munged chromium; do command -v "$program" >/dev/null || return 1; done
}
if ! have && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >/tmp/autodata-apt.log 2>&1 ||
        echo "apt could not install ${packages[*]}; see /tmp/autodata-apt.log"
fi
marked="slow or slurm or browser"
if ! have; then
    echo "skipped the slurm and browser tests: they need ${packages[*]}"
    marked="slow and not slurm and not browser"
fi
.venv/bin/python -m pytest -n 2
# Two at a time, except the tests that start vLLM, which takes all cores. PyTorch gets one core of the two.
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 -m "($marked) and not vllm"
.venv/bin/python -m pytest -m "($marked) and vllm"
