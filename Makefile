# make demo: the whole chain on this machine's CPU, for real.   make ingest-demo: samples of all forms of corpora → documents.
# make replay: the demo's published runs, made again from stored replies.
# make study: compares data made by the loop with data made without it, over SEEDS; resumes; uses a GPU with GPU=1.
# make test: the tests. All set up what they need; all are quick the second time.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DOCS ?= recipes/demo/documents
SEEDS ?= 0 1 2 3 4
RUNS ?= runs$(if $(filter recipes/demo/documents,$(DOCS)),,/$(notdir $(abspath $(DOCS))))
PY := .venv/bin/python
STAMP := .venv/.ready
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup demo replay study ingest-demo test lint clean
help:
	@echo "make demo [DOCS=folder] · make replay · make study [SEEDS='0 1 2'] [GPU=1] · make ingest-demo · make test · make lint · make clean"
	@echo "make setup installs for the CPU into .venv · make setup GPU=1 [DRIVER=…] installs for CUDA into .venv-gpu"

setup: $(if $(filter-out 0 no false,$(GPU)),.venv-gpu/.ready,$(STAMP))
$(STAMP): requirements/cpu.txt pyproject.toml requirements/install.sh
	PYTHON=$(PYTHON) bash requirements/install.sh cpu
	touch $@

.venv-gpu/.ready: requirements/gpu.txt pyproject.toml requirements/install.sh
	PYTHON=$(PYTHON) DRIVER='$(strip $(DRIVER))' bash requirements/install.sh gpu
	touch $@

demo: $(STAMP)
	@$(PY) -m autodata.reproduce recipes/demo --local documents.path='$(DOCS)' runs='$(RUNS)'

replay: $(STAMP)
	$(PY) -m autodata.replay docs/packs/demo.zip runs/replay

study: setup
	GPU='$(GPU)' bash recipes/study/run.sh $(if $(filter-out 0 no false,$(GPU)),runs/study_gpu,runs/study) $(SEEDS)

ingest-demo: $(STAMP)
	bash recipes/ingest/demo.sh runs/ingest-demo

test: $(STAMP)
	bash tests/run.sh

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/hadolint docker/*.Dockerfile

clean:
	rm -rf runs .venv .venv-gpu
