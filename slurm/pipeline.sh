#!/usr/bin/env bash
# Submits a chain of jobs. Each starts after the one before it has succeeded; a step that is up to date ends at once:
#   bash slurm/pipeline.sh "generate recipes/cs/generate.yaml recipes/models/paper.yaml" "eval RECIPE …" …
# A step's first word names a script of this folder. With --dry-run before the steps, the chain is only printed.
set -euo pipefail
cd "$(dirname "$0")/.."
source slurm/common.sh
dry=; [ "${1:-}" = --dry-run ] && { dry=echo; shift; }
[ "${1:-}" = --help ] && { sed -n '2,4s/^# \{0,1\}//p' slurm/pipeline.sh; exit; }
[ $# -gt 0 ] || { echo "error: name the steps of the chain; --help shows an example" >&2; exit 2; }
for step in "$@"; do  # all are checked before the first is submitted
    read -r first _ <<< "$step" || true
    grep -q '^#SBATCH' "slurm/$first.sh" 2> /dev/null && continue
    echo "error: the step '$step' must begin with the name of a job script: slurm/$first.sh is none" >&2; exit 2
done
before=
for step in "$@"; do
    read -ra words <<< "$step"
    script=slurm/${words[0]}.sh
    submit=(sbatch --parsable ${before:+--dependency=afterok:$before --kill-on-invalid-dep=yes} "$script" "${words[@]:1}")
    if [ -n "$dry" ]; then
        echo "${submit[*]}"; before=JOB
    else
        before=$("${submit[@]}"); before=${before%%;*}
        echo "submitted job $before: $step"
    fi
done
