#!/usr/bin/env bash
# Runs the pilot: pilot.sh RUNS. Two arms and two seeds answer questions about the documents of dev.jsonl. It gives the
# learning rate (learning curves of three rates, both arms) and the power of the study (RUNS/analysis/power.md).
set -euo pipefail
runs=$1 recipes=recipes/study seeds=(100 101) bin=.venv/bin launch=recipes/accelerate/cpu.yaml trainer=()
case ${GPU:-} in  # as in run.sh
    "" | 0 | no | false) ;;
    *) bin=.venv-gpu/bin launch=recipes/accelerate/one_gpu.yaml trainer=($recipes/gpu_training.yaml) ;;
esac
ARMS='agentic cot' QUESTIONS=dev bash $recipes/run.sh "$runs" "${seeds[@]}"
for rate in 1.0e-5 5.0e-5; do  # the rate between them is that of grpo.yaml
    for arm in agentic cot; do
        $bin/accelerate launch --config_file $launch training/grpo.py $recipes/grpo.yaml "${trainer[@]}" \
            run="$runs/rate_$rate/grpo_$arm" dataset="$runs/seed_${seeds[0]}/data_$arm" arms="[$arm]" \
            evaluate_dataset="$runs/heldout" trainer.seed="${seeds[0]}" trainer.learning_rate="$rate"
    done
done
$bin/python -m autodata.eval.study $recipes/analysis.yaml runs="$runs" pilot="$runs/analysis"
