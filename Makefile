# tickhouse: `make demo` and `make test` do everything; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The first Python of 3.11 or later that really runs: `python3.11` may be a shim that only prints an error.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
KERNELS := $(wildcard transforms/kernels/*.py)
# Two at a time, a file's tests together: most of them wait for processes and disks of their own.
# In the order of the folders: crash and end_to_end first, so that no long file is left for the end.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
SEED ?= $(shell date +%s)

# Kernels are compiled where there is a compiler and Python's headers; else they run interpreted, and say so.
CAN_COMPILE := $(shell command -v cc >/dev/null && [ -n "$(PYTHON)" ] && "$(PYTHON)" -c 'import pathlib, sysconfig, sys; \
	sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").is_file())' >/dev/null 2>&1 && echo yes)

.PHONY: help install kernels demo up test check format docs bench bench-lake bench-peers fuzz crash broker soak verify-data coverage audit sbom clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed kernels ## everything pinned, into .venv

$(VENV)/installed: pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "no Python 3.11 or later found; on Debian: apt-get install python3 python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV) (once)"
	@"$(PYTHON)" -m venv $(VENV) || { echo "$(PYTHON) cannot make a venv; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

kernels: $(VENV)/kernels ## compile transforms/kernels, where there is a C compiler

ifeq ($(CAN_COMPILE),yes)
$(VENV)/kernels: $(VENV)/installed $(KERNELS)
	@echo "compiling the kernels"
	@HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(PIP) --no-build-isolation --no-deps --editable .
	@$(BIN)/python -W ignore -c 'import transforms.kernels as k; k.record_build(); state = k.kernel_state(); assert state.is_compiled, state'
	@touch $@
else
$(VENV)/kernels: $(VENV)/installed $(KERNELS)
	@echo "kernels stay interpreted: no C compiler (cc) with Python's headers found"
	@[ "$${TICKHOUSE_REQUIRE:-}" != all ] || { echo "TICKHOUSE_REQUIRE=all, so that is an error" >&2; exit 1; }
	@touch $@
endif

demo: install ## the main job: a finite tour from providers to questions
	@$(BIN)/tickhouse demo

# The operator's own parts: Kafka for the log, a database for the catalog, a place for the tables.
UP = $(if $(KAFKA),TICKHOUSE_LOG_URL='$(KAFKA)') $(if $(CATALOG),TICKHOUSE_CATALOG_URL='$(CATALOG)') $(if $(WAREHOUSE),TICKHOUSE_WAREHOUSE='$(WAREHOUSE)')

up: install ## the whole system until Ctrl-C; KAFKA=kafka://host:port CATALOG=url WAREHOUSE=folder use your own parts
	@$(UP) $(BIN)/tickhouse up

test: install ## every test; kernels in both forms where they are compiled
ifeq ($(CAN_COMPILE),yes)
	@echo "kernels, interpreted:"
	@TICKHOUSE_KERNELS=interpreted $(BIN)/python -m pytest $(PARALLEL) tests/transforms/decode tests/transforms/kernels
	@echo "everything, kernels compiled:"
else
	@echo "everything, kernels interpreted (the compiled form is skipped: no C compiler with Python's headers)"
endif
	@$(BIN)/python -m pytest $(PARALLEL)

check: install ## format, lint, types, security, house rules, bill of materials
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml lake transforms quality_checks ingest serving
	@$(BIN)/python -m pytest tests/test_house.py
	@$(MAKE) --no-print-directory sbom

format: install ## rewrite the sources in the one format
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

coverage: install ## every test again, counting lines: at least 85 %
	@$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

docs: install ## what is drawn from the code: the data dictionary
	@$(BIN)/python -m lake.tables.dictionary

# ArcticDB takes no protobuf as new as ours: its environment is its own, and the benches ask it there.
ARCTICDB := $(VENV)/arcticdb
WITH_ARCTICDB = TICKHOUSE_BENCH_ARCTIC="$${TICKHOUSE_BENCH_ARCTIC:-$$(ls $(ARCTICDB)/bin/python 2>/dev/null || true)}"

bench-peers: ## ArcticDB in an environment of its own, for `bench` and `bench-lake`
	@"$(PYTHON)" -m venv $(ARCTICDB)
	@$(ARCTICDB)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/engines/arcticdb.txt

bench: install ## ratios against other people's code; BENCH=name one of them, SCALE=1 for all 20 million ticks
ifeq ($(CAN_COMPILE),yes)
	@$(PIP) cryptofeed || echo "cryptofeed could not be installed: its cases are skipped"
endif
	@$(PIP) chdb deltalake || echo "chdb and deltalake could not be installed: their cases are skipped"
	@$(WITH_ARCTICDB) $(BIN)/python -m tests.benchmarks $(BENCH) $(if $(SCALE),--scale $(SCALE))
	@$(if $(BENCH),,$(BIN)/python -W ignore -m tests.benchmarks.latency_of_capture)

bench-lake: install ## bytes a trade, memory of each engine, commits against history; SCALE=1 for all 20 million ticks
	@$(PIP) chdb deltalake || echo "chdb and deltalake could not be installed: their cases are skipped"
	@$(BIN)/python -m tests.benchmarks.lake_sizes $(SCALE)
	@$(WITH_ARCTICDB) $(BIN)/python -W ignore -m tests.benchmarks.lake_memory $(SCALE)
	@$(BIN)/python -m tests.benchmarks.lake_commits

fuzz: install ## readers of files by coverage, SECONDS=n each, and property tests with 40 times the examples; SEED=n repeats a run
	@$(PIP) atheris || echo "atheris could not be installed: readers are not fuzzed by coverage"
	@echo "SEED=$(SEED)"
	@$(BIN)/python -W ignore -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(SEED)
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -m hypothesis --hypothesis-seed=$(SEED)

crash: install ## 200 lakes through kills, zombies, failing and full disks, power cuts; SEED=n and COUNT=n repeat a run
	@$(BIN)/python -W ignore -m tests.crash.campaign $(SEED) $(or $(COUNT),200)

broker: install ## ten seeds of kills over a real Kafka, broker included; SEED=n and COUNT=n repeat a run
	@echo "SEED=$(SEED)"
	@$(BIN)/python -m tests.kafka.campaign $(SEED) $(or $(COUNT),10)

soak: install ## a storm of one simulated day: quotas, failover, gaps; SEED=n MINUTES=390 INCIDENTS=500 RATE=24 repeat a run
	@$(BIN)/python -W ignore -m tests.soak.campaign $(SEED) $(or $(MINUTES),390) $(or $(INCIDENTS),500) $(or $(RATE),24)

# Recorded payloads are no part of this repository: by default, the folder `data` of a neighbour.
DATA ?= $(firstword $(wildcard ../*/data))

verify-data: install ## every recorded file of DATA=folder through the importer; FOLDERS="yahoo fx_ticks" only these
	@[ -n "$(DATA)" ] || { echo "no data folder beside this one: name it with DATA=folder" >&2; exit 2; }
	@$(BIN)/python -m tests.verify_data "$(DATA)" $(FOLDERS)

audit: install ## known weaknesses of what is installed (asks the advisory source of the package index)
	@$(PIP) pip-audit
	@$(BIN)/pip-audit --local --timeout 20 --progress-spinner off

sbom: install ## software bill of materials, CycloneDX
	@mkdir -p build
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-format JSON --output-file build/sbom.cdx.json $(BIN)/python
	@echo "bill of materials: build/sbom.cdx.json"

clean: ## remove what was built or installed; a lake in .tickhouse stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	rm -f transforms/kernels/*.so transforms/kernels/compiled.json *__mypyc*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
