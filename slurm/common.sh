# Sourced by the scripts beside it: the repository's root as working folder, and what the site sets.
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
[ -e slurm/site.env ] && source slurm/site.env
for name in SBATCH_PARTITION SBATCH_ACCOUNT SBATCH_QOS; do [ -n "${!name:-}" ] || unset "$name"; done
python=${AUTODATA_PYTHON:-.venv/bin/python}
