# The commands of this project; `make` alone lists them. Made for GNU make 3.81 (macOS) and newer.

PYTHON ?=# a Python to make the environment with, if not the first that fits
ARGS ?=# further words for demo, test and bench: make test ARGS="-k relay"
WORKERS ?= 4# test processes beside each other: most tests wait for a kubectl most of their time

BIN := .venv/bin
INSTALLED := .venv/installed

# A program started with stdin closed would get its first file or socket as descriptor 0.
STDIN := { true 3<&0; } 2>/dev/null || exec </dev/null;
FITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# Without files of bytecode, each program would be compiled anew at each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo test check bench soak screenshots man zipapp clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

venv: $(INSTALLED) ## the virtual environment .venv, with all that is needed

# Installs anew when pyproject.toml has changed; an environment that works is kept.
$(INSTALLED): pyproject.toml
	@$(STDIN) \
	if ! $(BIN)/python -c '$(FITS)' 2>/dev/null; then \
	    for python in $(PYTHON) python3.13 python3.12 python3.11 python3 none; do \
	        if $$python -c '$(FITS)' 2>/dev/null; then break; fi; \
	    done; \
	    if [ $$python = none ]; then \
	        echo 'No Python 3.11 or newer with venv and pip (on Debian: apt-get install python3-venv).' >&2; \
	        echo 'If you have one elsewhere: make venv PYTHON=/path/to/python3' >&2; \
	        exit 1; \
	    fi; \
	    echo "making .venv with $$python ($$($$python --version))"; \
	    $$python -m venv --clear .venv || exit 1; \
	fi; \
	echo 'installing what pyproject.toml names'; \
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --editable '.[dev]' && touch $@

# exec: Ctrl-C, and a signal sent to make, reach the program itself. A kubectl from .cache/kubectl is not on PATH yet.
demo: $(INSTALLED) ## the main job on the embedded sandbox cluster, with config.example.yaml
	@$(STDIN) KUBECTL=$$(tools/find-kubectl) || exit 1; \
	export KUBECTL PATH="$$PATH:$$(dirname "$$KUBECTL")"; \
	exec $(BIN)/kpf-supervise --sandbox config.example.yaml $(ARGS)

test: $(INSTALLED) ## the whole test suite, on every kubectl found
	@$(STDIN) tools/find-kubectl >/dev/null && exec $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(INSTALLED) ## linter, formatter and type checker
	@$(STDIN) $(BIN)/ruff check && $(BIN)/ruff format --check && exec $(BIN)/mypy

bench: $(INSTALLED) ## the performance table
	@$(STDIN) KUBECTL=$$(tools/find-kubectl) || exit 1; \
	export KUBECTL PATH="$$PATH:$$(dirname "$$KUBECTL")"; \
	exec $(BIN)/python -m benchmarks $(ARGS)

soak: $(INSTALLED) ## 10,000 examples of all that is random, then ten minutes of load and faults by a seed: make soak ARGS="--seed 7"
	@$(STDIN) HISTORIES=10000 $(BIN)/python -m pytest -q -m random && \
	tools/find-kubectl >/dev/null && exec $(BIN)/python -m tests.soak $(ARGS)

screenshots: $(INSTALLED) ## the pictures of the panel in docs, made from the real program
	@$(STDIN) tools/find-kubectl >/dev/null && exec $(BIN)/python -m tests.screenshots

man: $(INSTALLED) ## the manual pages in docs/man, from the help of the commands
	@$(STDIN) exec $(BIN)/python -m tests.man_pages

zipapp: $(INSTALLED) ## one file that needs only Python and kubectl: dist/kpf-supervise.pyz; linked as kpfctl it is kpfctl
	@$(STDIN) mkdir -p dist && exec $(BIN)/shiv --quiet --entry-point kpf_supervise.entry:by_name --extend-pythonpath \
	    --python '/usr/bin/env python3' --output-file dist/kpf-supervise.pyz .

clean: ## remove what the commands above have made
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache supervisor/*.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
