#!/usr/bin/env bash
# Runs the whole chain, one command after the other: run.sh DOCUMENTS RUNS. Finished steps are skipped.
set -euo pipefail
docs=$1 runs=$2 recipes=recipes/demo
python=.venv/bin/python
step() { printf '\n== %s (at %s s)\n' "$*" "$SECONDS"; "$@"; }

SECONDS=0 server=() server_pid=
stop_server() { [ -z "$server_pid" ] || { kill "$server_pid" && wait "$server_pid" || true; }; server_pid=; }
trap stop_server EXIT
# Starts one server for all steps that use the untrained model; each step could also start its own.
if [ ! -e "$runs/eval_base/results.json" ]; then
    exec 3< <(exec $python -m autodata.servers $recipes/generate.yaml run="$runs/servers")
    server_pid=$!
    while read -r line <&3; do
        echo "$line"
        [[ $line == models.endpoints.* ]] && server=("$line") && break
    done
    [ ${#server[@]} -gt 0 ] || { echo "error: no server; read the logs in $runs/servers" >&2; exit 1; }
fi

step $python -m autodata.generate $recipes/generate.yaml "${server[@]}" \
    run="$runs/agentic" documents.path="$docs"
step $python -m autodata.generate $recipes/generate_cot.yaml "${server[@]}" \
    run="$runs/cot" documents.path="$docs"
step $python -m autodata.dataset $recipes/dataset.yaml run="$runs/dataset" \
    arms.agentic="$runs/agentic" arms.cot="$runs/cot"
step $python -m eval.run $recipes/eval_base.yaml "${server[@]}" \
    run="$runs/eval_base" dataset="$runs/dataset"
stop_server
step .venv/bin/accelerate launch --config_file recipes/accelerate/cpu.yaml training/grpo.py \
    $recipes/grpo.yaml run="$runs/grpo" dataset="$runs/dataset"
step $python -m eval.run $recipes/eval_trained.yaml run="$runs/eval_trained" \
    dataset="$runs/dataset" evaluated.weights="$runs/grpo/model"
step $python -m eval.tables $recipes runs="$runs"
step $python -m autodata.report "$runs"
echo "finished after $SECONDS s; to see every answer: .venv/bin/inspect view --log-dir $runs/eval_trained/logs"
echo "the report of every step, to open in a browser: $runs/index.html"
