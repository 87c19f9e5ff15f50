#!/usr/bin/env bash
# Runs the study: run.sh RUNS SEED… Finished steps are skipped, so the same command again goes on where it stopped.
# ARMS names the arms, QUESTIONS the documents that are asked about (test or dev). GPU=1 uses .venv-gpu and one GPU.
set -euo pipefail
runs=$1 recipes=recipes/study arms=${ARMS:-agentic best_of_n cot pass_rate}
shift
bin=.venv/bin launch=recipes/accelerate/cpu.yaml models=() trainer=()
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
    [ -z "$server_pid" ] || return 0
    exec 3< <(exec $python -m autodata.servers $recipes/generate_cot.yaml "${models[@]}" run="$runs/servers")
    server_pid=$!
    while read -r line <&3; do
        echo "$line"
        [[ $line == models.endpoints.* ]] && server=("$line") && return
    done
    echo "error: no server; read the logs in $runs/servers" >&2
    exit 1
}
generate() { step $python -m autodata.generate "$recipes/generate_$1.yaml" "${models[@]}" run="$2" "${server[@]}" "${@:3}"; }
evaluate() { step $python -m autodata.eval.run $recipes/eval.yaml "${models[@]}" dataset="$runs/heldout" "$@"; }

[ -e "$runs/eval_untrained/results.json" ] || start_server
generate questions "$runs/heldout_cot" documents.path="$recipes/documents/${QUESTIONS:-test}.jsonl"
step $python -m autodata.dataset $recipes/dataset_questions.yaml run="$runs/heldout" arms.cot="$runs/heldout_cot"
evaluate run="$runs/eval_untrained" "${server[@]}"

for seed in "$@"; do
    here=$runs/seed_$seed
    for arm in $arms; do
        [ -e "$here/data_$arm/examples.jsonl" ] || start_server
        budget=()
        [ "$arm" != best_of_n ] || budget=(budget_from="$here/agentic")
        generate "$arm" "$here/$arm" seed="$seed" "${budget[@]}"
        made_as=$arm
        [ "$arm" != pass_rate ] || made_as=cot  # it is chosen from proposals of that arm
        step $python -m autodata.dataset $recipes/dataset.yaml run="$here/data_$arm" arms.$made_as="$here/$arm"
    done
    stop_server
    for arm in $arms; do
        chosen=(arms="[$arm]") data="$arm data"
        [ "$arm" != pass_rate ] || { chosen=(arms="[cot]" pass_rate="[0.125,0.5]"); data="cot data of a chosen pass rate"; }
        step $bin/accelerate launch --config_file $launch training/grpo.py $recipes/grpo.yaml "${trainer[@]}" \
            run="$here/grpo_$arm" dataset="$here/data_$arm" "${chosen[@]}" evaluate_dataset="$runs/heldout" \
            trainer.seed="$seed"
        evaluate run="$here/eval_$arm" seed="$seed" label="SmolLM2-135M + RL on $data" \
            evaluated.weights="$here/grpo_$arm/model"
    done
done
# The analysis takes all seeds that have been run, also by earlier calls.
seeds=$(printf '%s\n' "$@" $(ls "$runs" | sed -n 's/^seed_//p') | sort -nu | paste -sd,)
step $python -m autodata.eval.study $recipes/analysis.yaml runs="$runs" seeds="[$seeds]"
step $python -m autodata.report "$runs"
