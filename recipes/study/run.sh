#!/usr/bin/env bash
# Runs the study: run.sh RUNS SEED… Finished steps are skipped, so the same command again goes on where it stopped.
# With GPU=1 it uses .venv-gpu and one GPU, else the CPU.
set -euo pipefail
runs=$1 recipes=recipes/study bin=.venv/bin launch=recipes/accelerate/cpu.yaml models=() trainer=()
shift
case ${GPU:-} in
    "" | 0 | no | false) ;;
    *) bin=.venv-gpu/bin launch=recipes/accelerate/one_gpu.yaml
       models=($recipes/gpu.yaml) trainer=($recipes/gpu_training.yaml) ;;
esac
python=$bin/python
step() { printf '\n== %s (at %s s)\n' "$*" "$SECONDS"; "$@"; }

SECONDS=0 server=() server_pid=
stop_server() { [ -z "$server_pid" ] || { kill "$server_pid" && wait "$server_pid" || true; }; server=() server_pid=; }
trap stop_server EXIT
start_server() {  # one server for several steps that use the untrained model; each step could also start its own
    exec 3< <(exec $python -m autodata.servers $recipes/generate.yaml "${models[@]}" run="$runs/servers")
    server_pid=$!
    while read -r line <&3; do
        echo "$line"
        [[ $line == models.endpoints.* ]] && server=("$line") && return
    done
    echo "error: no server; read the logs in $runs/servers" >&2
    exit 1
}
generate() { step $python -m autodata.generate "$recipes/$1.yaml" "${models[@]}" run="$2" "${server[@]}" "${@:3}"; }
dataset() { step $python -m autodata.dataset "$recipes/$1.yaml" run="$2" "${@:3}"; }

[ -e "$runs/eval_untrained/results.json" ] || start_server
generate generate_questions "$runs/heldout_cot"
dataset dataset_questions "$runs/heldout" arms.cot="$runs/heldout_cot"
step $python -m eval.run $recipes/eval.yaml "${models[@]}" "${server[@]}" run="$runs/eval_untrained" dataset="$runs/heldout"

for seed in "$@"; do
    here=$runs/seed_$seed
    [ -n "$server_pid" ] || [ -e "$here/dataset_pool/examples.jsonl" ] || start_server
    generate generate "$here/agentic" seed="$seed"
    generate generate_best_of_n "$here/best_of_n" seed="$seed" budget_from="$here/agentic"
    generate generate_cot "$here/cot" seed="$seed"
    generate generate_pool "$here/pool" seed="$seed"
    stop_server
    dataset dataset "$here/dataset" seed="$seed" \
        arms.agentic="$here/agentic" arms.cot="$here/cot" arms.best_of_n="$here/best_of_n"
    dataset dataset_pool "$here/dataset_pool" seed="$seed" arms.cot="$here/pool"
    for arm in agentic cot best_of_n pass_rate; do
        data=(dataset="$here/dataset" "arms=[$arm]")
        [ $arm != pass_rate ] || data=(dataset="$here/dataset_pool" "arms=[cot]" "pass_rate=[0.125,0.5]")
        step $bin/accelerate launch --config_file $launch training/grpo.py $recipes/grpo.yaml "${trainer[@]}" \
            run="$here/grpo_$arm" "${data[@]}" evaluate_dataset="$runs/heldout" trainer.seed="$seed"
        step $python -m eval.run $recipes/eval.yaml "${models[@]}" run="$here/eval_$arm" dataset="$runs/heldout" seed="$seed" \
            label="SmolLM2-135M + RL on $arm data" evaluated.weights="$here/grpo_$arm/model"
    done
done
step $python -m eval.study $recipes/analysis.yaml runs="$runs"
