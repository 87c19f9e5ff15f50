# The other scripts source this file. It changes to the repository's root, reads slurm/site.env and chooses the Python.
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
# What the caller sets wins over slurm/site.env, in the jobs submitted from here as well: AUTODATA_GIVEN has its names.
# All other variables are set anew wherever a script begins, because a node's address may be computed there.
export AUTODATA_GIVEN=${AUTODATA_GIVEN-$(echo $(compgen -e AUTODATA_; compgen -e SBATCH_))}
given=$(for name in $AUTODATA_GIVEN; do declare -p "$name" 2> /dev/null || true; done)
[ -e slurm/site.env ] && source slurm/site.env
eval "$given"
for name in SBATCH_PARTITION SBATCH_ACCOUNT SBATCH_QOS; do [ -n "${!name:-}" ] || unset "$name"; done
python=${AUTODATA_PYTHON:-.venv-gpu/bin/python}
[ -n "${AUTODATA_PYTHON:-}" ] || [ -x "$python" ] || python=.venv/bin/python
# A job with GPUs whose packages cannot use them gets a warning in its log.
[ "${SLURM_GPUS_ON_NODE:-0}" = 0 ] || "$python" -m autodata.doctor.builds > /dev/null

# enter NAME "$@" begins slurm/NAME.sh: it prints how to call the script, or submits it as a job with the resources that
# its arguments need. Inside a job it only returns.
enter() {
    local name=$1 script=slurm/$1.sh options=()
    guide "$@"; shift
    if [ -n "${SLURM_JOB_ID:-}" ] && [ "$1" != --dry-run ]; then require_python; note_sbatch "$name"; return 0; fi
    while [[ "${1:-}" == -* ]]; do  # all options of sbatch have the form --name or --name=value
        case "$1" in
            --help | -h) guide "$name" --help ;;
            --dry-run) options+=("$1") ;;
            *) options+=("--sbatch=$1") ;;
        esac
        shift
    done
    guide "$name" "$@"  # options alone say nothing about what to run
    require_python
    export AUTODATA_SUBMITTED=1  # the job inherits it
    exec "$python" -m autodata.cluster.submit ${options[@]+"${options[@]}"} -- "$script" "$@"
}

note_sbatch() {  # says in a job's log that sbatch was called directly: Slurm runs a copy of the script under its own name
    [ "${0##*/}" = slurm_script ] && [ -z "${AUTODATA_SUBMITTED:-}" ] && [ "$1" != serve ] || return 0
    echo "note: sbatch slurm/$1.sh asks for the resources that stand in the script, and for no partition, account or option" \
        "of slurm/site.env; bash slurm/$1.sh with the same arguments asks for what they need" >&2
}

require_python() {  # ends with what to do if neither environment is installed; help needs none
    command -v "$python" > /dev/null && return
    echo "error: $python is not there: \`make setup GPU=1\` installs into .venv-gpu, \`make setup\` for the CPU into .venv," \
        "and AUTODATA_PYTHON names a Python elsewhere" >&2
    exit 2
}

guide() {  # ends with the help if it is asked for, or if there are no arguments
    case "${2:-}" in
        --help | -h) describe "slurm/$1.sh"; exit 0 ;;
        "") { echo "error: slurm/$1.sh needs arguments"; describe "slurm/$1.sh"; } >&2; exit 2 ;;
    esac
}

describe() {  # prints the comment at the head of a script
    sed -n '/^[^#]/q; 2,$ { /^#SBATCH/d; s/^# \{0,1\}//p; }' "$1"
}
