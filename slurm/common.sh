# The other scripts source this file. It changes to the repository's root, reads slurm/site.env and chooses the Python.
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
[ -e slurm/site.env ] && source slurm/site.env
for name in SBATCH_PARTITION SBATCH_ACCOUNT SBATCH_QOS; do [ -n "${!name:-}" ] || unset "$name"; done
python=${AUTODATA_PYTHON:-.venv-gpu/bin/python}
[ -n "${AUTODATA_PYTHON:-}" ] || [ -x "$python" ] || python=.venv/bin/python
# A job with GPUs whose packages cannot use them gets a warning in its log.
[ "${SLURM_GPUS_ON_NODE:-0}" = 0 ] || "$python" -m autodata.doctor.builds > /dev/null
