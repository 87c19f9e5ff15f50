#!/usr/bin/env bash
# Ingests one sample of each form in which the corpora come into the folder RUNS: demo.sh RUNS. Finished runs are skipped.
set -euo pipefail
runs=$1 recipes=recipes/ingest samples=recipes/ingest/samples
ingest() { .venv/bin/python -m autodata.corpora.ingest "$recipes/ingest_$1.yaml" "$samples/short.yaml" path="$samples/$1" run="$runs/$1" "${@:2}"; }
ingest s2orc papers="$samples/papers" abstracts="$samples/abstracts"
ingest pile_of_law 'pile_of_law.subsets=[courtlisteneropinions,founding_docs]'
ingest principia
ingest own own.licence=CC0-1.0
sed -n '/^| rows/,/^$/p' "$runs"/*/report.md
