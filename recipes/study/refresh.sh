#!/usr/bin/env bash
# Runs the follow-up of the study: refresh.sh RUNS SEED… After half of the steps it selects new questions against the model
# of that time, and trains the other half on them. `make study` with the same seeds comes first. GPU=1 as in run.sh.
set -euo pipefail
runs=$1 recipes=recipes/study bin=.venv/bin launch=recipes/accelerate/cpu.yaml models=() student=() trainer=()
shift
case ${GPU:-} in
    "" | 0 | no | false) ;;
    *) bin=.venv-gpu/bin launch=recipes/accelerate/one_gpu.yaml
       models=($recipes/gpu.yaml) trainer=($recipes/gpu_training.yaml) ;;
esac
python=$bin/python
step() { printf '\n== %s (at %s s)\n' "$*" "$SECONDS"; "$@"; }
train_half() {  # NAME DATA SEED [key=value …]
    step $bin/accelerate launch --config_file $launch training/grpo.py $recipes/grpo_half.yaml "${trainer[@]}" \
        run="$here/$1" dataset="$here/$2" arms='[agentic]' evaluate_dataset="$runs/heldout" trainer.seed="$3" "${@:4}"
}

SECONDS=0
for seed in "$@"; do
    here=$runs/seed_$seed half=$runs/seed_$seed/grpo_first_half/model
    train_half grpo_first_half data_agentic "$seed"
    step $python -m autodata.generate $recipes/generate_refreshed.yaml "${models[@]}" run="$here/refreshed" seed="$seed" \
        models.endpoints.student.server.weights="$half" models.endpoints.student.model=half-trained
    step $python -m autodata.dataset $recipes/dataset.yaml run="$here/data_refreshed" arms.agentic="$here/refreshed"
    train_half grpo_refreshed data_refreshed "$seed" model="$half"
    step $python -m autodata.eval.run $recipes/eval.yaml "${models[@]}" run="$here/eval_refreshed" dataset="$runs/heldout" \
        seed="$seed" label="SmolLM2-135M + RL on agentic data, refreshed" evaluated.weights="$here/grpo_refreshed/model"
done
seeds=$(printf '%s\n' "$@" | sort -nu | paste -sd,)
step $python -m autodata.eval.study $recipes/analysis_refreshed.yaml runs="$runs" seeds="[$seeds]"
step $python -m autodata.report "$runs"
