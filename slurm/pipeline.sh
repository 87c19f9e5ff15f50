#!/usr/bin/env bash
# Submits a chain of jobs. Each starts after the one before it has succeeded; a step that is up to date ends at once:
#   bash slurm/pipeline.sh "generate recipes/cs/generate.yaml recipes/models/paper.yaml" "eval RECIPE …" …
# A step's first word names a script of this folder. With --dry-run before the steps, the chain is only printed.
set -euo pipefail
cd "$(dirname "$0")/.."
source slurm/common.sh
dry=; [ "${1:-}" = --dry-run ] && { dry=echo; shift; }
[ $# -gt 0 ] || { sed -n '2,4s/^# \{0,1\}//p' slurm/pipeline.sh; exit 1; }
before=
for step in "$@"; do
    read -ra words <<< "$step"
    script=slurm/${words[0]}.sh
    [ -e "$script" ] || { echo "error: the step '$step' needs $script, which does not exist" >&2; exit 1; }
    submit=(sbatch --parsable ${before:+--dependency=afterok:$before --kill-on-invalid-dep=yes} "$script" "${words[@]:1}")
    if [ -n "$dry" ]; then
        echo "${submit[*]}"; before=JOB
    else
        before=$("${submit[@]}"); before=${before%%;*}
        echo "submitted job $before: $step"
    fi
done
