# The other scripts source this file. It changes to the repository's root and reads slurm/site.env.
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
[ -e slurm/site.env ] && source slurm/site.env
for name in SBATCH_PARTITION SBATCH_ACCOUNT SBATCH_QOS; do [ -n "${!name:-}" ] || unset "$name"; done
python=${AUTODATA_PYTHON:-.venv/bin/python}
