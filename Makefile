# make demo: the whole chain on this machine's CPU, for real.   make ingest-demo: samples of four corpora → documents.
# make test: the tests. All set up what they need; all are quick the second time.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DOCS ?= recipes/demo/documents
RUNS ?= runs/$(if $(filter recipes/demo/documents,$(DOCS)),demo,$(notdir $(abspath $(DOCS))))
PY := .venv/bin/python
STAMP := .venv/.ready
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup demo ingest-demo test lint clean
help:
	@echo "make demo [DOCS=folder] · make ingest-demo · make test · make lint · make clean"

setup: $(STAMP)
$(STAMP): requirements/cpu.txt pyproject.toml requirements/install.sh
	PYTHON=$(PYTHON) bash requirements/install.sh
	touch $@

demo: $(STAMP)
	bash recipes/demo/run.sh "$(DOCS)" "$(RUNS)"

ingest-demo: $(STAMP)
	bash recipes/ingest/demo.sh runs/ingest-demo

test: $(STAMP)
	bash tests/run.sh

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean:
	rm -rf runs .venv
