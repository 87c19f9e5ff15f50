#!/usr/bin/env bash
# Measures serving, training and evaluation on one GPU, without network. docs/gpu.md says what each part measures.
#
#   bench/gpu.sh [generate|grpo|lora|memory|evaluate …]     all parts without arguments; at most LIMIT=480 seconds
#   python -m bench.gpu.page --write                        then writes the numbers into docs/gpu.md
#
# With SIZE=small the same commands run on a CPU with small models. PYTHON names another Python than .venv/bin/python, and
# COMMIT the commit of a copy without a git folder. The parts write runs/gpu/PART.json and runs/gpu/PART.log; one that
# fails does not stop the others. grpo needs the data set that generate makes with it, or that of runs/demo; evaluate needs grpo.
set -uo pipefail
cd "$(dirname "$0")/.."
all=(generate grpo lora memory evaluate)
parts=" ${*:-${all[*]}} "
[[ " $* " != *" --help "* && " $* " != *" -h "* ]] || { sed -n '2,9s/^# \{0,1\}//p' bench/gpu.sh; exit; }
for part in "$@"; do
    [[ " ${all[*]} " == *" $part "* ]] || { echo "error: unknown part $part; choose from ${all[*]}" >&2; exit 2; }
done

runs=runs/gpu LIMIT=${LIMIT:-480} slower=1
[ "${SIZE:-}" != small ] || runs=runs/gpu-small LIMIT=$((4 * LIMIT)) slower=4
[ -x .venv/bin/python ] && PYTHON=${PYTHON:-.venv/bin/python} || PYTHON=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} VLLM_CACHE_ROOT=$PWD/$runs/vllm_cache
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false VLLM_NO_USAGE_STATS=1
# PyTorch with two threads is many times slower while other programs use both cores.
[ "${SIZE:-}" != small ] || export OMP_NUM_THREADS=1
mkdir -p "$runs"
rm -f "$runs/beside.busy"

wanted() { [[ $parts == *" $1 "* ]]; }
# Runs a command until it ends or the time is over: try PART SECONDS COMMAND …
try() {
    local part=$1 limit=$(($2 * slower)) left=$((LIMIT - SECONDS)) start=$SECONDS status=0
    shift 2
    timeout -k 5 $((left < 1 ? 1 : left < limit ? left : limit)) "$@" >>"$runs/$part.log" 2>&1 || status=$?
    echo "$part: $([ $status = 0 ] && echo done || echo "failed ($status), see $runs/$part.log") after" \
        "$((SECONDS - start)) s, at $SECONDS s"
    return $status
}
measure() {
    local part=$1 limit=$2
    wanted "$part" || return 0
    rm -f "$runs/$part.json" "$runs/$part.log"
    try "$part" "$limit" "$PYTHON" -m "bench.gpu.$part" "$runs" "${@:3}"
}
# vLLM can fail to start if another program frees memory just then, so these parts get a second chance.
grpo() { measure grpo 240 || measure grpo 240; }
evaluate() { measure evaluate 150 || measure evaluate 150; }
write_model() {
    { wanted lora || wanted memory; } && [ ! -e "$runs/qwen/config.json" ] || return 0
    try model 150 "$PYTHON" -m bench.gpu.model "$runs/qwen"
}
# Does this work one by one while another part loads, which waits for the end of it before it measures anything.
beside() {
    touch "$runs/beside.busy"
    for work in "$@"; do "$work"; done
    rm -f "$runs/beside.busy"
}

[ -e "$runs/dataset" ] || [ ! -e runs/demo/dataset ] || cp -r runs/demo/dataset "$runs/dataset"
first=(write_model) then=(evaluate)
if [ -e "$runs/dataset" ]; then first+=(grpo); else then=(grpo evaluate); fi
beside "${first[@]}" &
measure generate 300 $({ wanted grpo && [ ! -e "$runs/dataset" ]; } && echo --dataset)
wait
beside "${then[@]}" &
measure lora 360
wait
measure memory 200
"$PYTHON" -m bench.gpu.page --runs "$runs"
echo "finished after $SECONDS s"
