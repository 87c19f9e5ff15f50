#!/usr/bin/env bash
# The whole chain, one command after the other: run.sh DOCUMENTS RUNS. Finished steps are skipped.
set -euo pipefail
docs=$1 runs=$2 recipes=recipes/demo
python=.venv/bin/python
step() { printf '\n== %s\n' "$*"; "$@"; }
train() { step .venv/bin/accelerate launch --config_file recipes/accelerate/cpu.yaml training/grpo.py "$@"; }

SECONDS=0
step $python -m autodata.generate $recipes/generate.yaml run="$runs/agentic" documents.path="$docs"
step $python -m autodata.generate $recipes/generate_cot.yaml run="$runs/cot" documents.path="$docs"
step $python -m autodata.dataset $recipes/dataset.yaml run="$runs/dataset" \
    arms.agentic="$runs/agentic" arms.cot="$runs/cot"
train $recipes/grpo.yaml run="$runs/grpo" dataset="$runs/dataset"
step $python -m eval.run $recipes/eval_base.yaml run="$runs/eval_base" dataset="$runs/dataset"
step $python -m eval.run $recipes/eval_trained.yaml run="$runs/eval_trained" dataset="$runs/dataset" \
    models.endpoints.small.server.weights="$runs/grpo/model"
step $python -m eval.tables $recipes/table1.yaml runs="$runs"
step $python -m eval.tables $recipes/table2.yaml runs="$runs"
echo "finished after $SECONDS s; the reward curve is $runs/grpo/curve.png, every answer in inspect view --log-dir $runs/eval_trained/logs"
