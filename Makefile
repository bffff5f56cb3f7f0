# What can be done in a checkout. `make` alone lists it.

SHELL := /bin/sh
BIN := .venv/bin
READY := .venv/.ready
NEWER := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for each in python3.11 python3 python; do \
	if $$each -c '$(NEWER)' 2>/dev/null; then echo $$each; break; fi; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo run test check bench texas torture lock

help: ## list what can be done here
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make .venv, with `meterhub` in it
	@echo "Ready: $(BIN)/meterhub --help"

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found. Name one: make setup PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version); the first time this takes a minute or two"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## a whole night through real SFTP, in ./demo-night, and what happened
	@rm -rf demo-night
	@$(BIN)/meterhub --home demo-night demo

run: $(READY) ## serve a hub with sample partners, in ./hub
	@$(BIN)/meterhub --home hub init --sample
	@exec $(BIN)/meterhub --home hub serve

test: $(READY) ## all tests, the linters among them
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(READY) ## lint, types and which way imports run
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(READY) ## how fast a hub is, beside a bare script, DuckDB and Polars; ONLY=night, uploads, doors, syncs, questions or years
	$(BIN)/python tests/bench/ratios.py $(if $(ONLY),--only $(ONLY))

texas: $(READY) ## a whole night of 7 million meters, with what it took; N=500000 is a smaller one, SFTP=1 comes by SFTP
	$(BIN)/python tests/bench/texas.py --picture texas-night.svg $(if $(N),--accounts $(N)) $(if $(SFTP),--sftp)

torture: $(READY) ## ten minutes in which everything happens to a hub, and a proof that nothing is lost; SEED=7 is the same again
	$(BIN)/meterhub torture --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

lock: ## work out requirements.txt anew from pyproject.toml; UPGRADE=--upgrade takes what is newest
	@test -x .cache/lock/bin/pip-compile || { $(PYTHON) -m venv .cache/lock && .cache/lock/bin/python -m pip install --quiet 'pip-tools>=7.4,<8'; }
	CUSTOM_COMPILE_COMMAND='make lock' .cache/lock/bin/pip-compile --quiet $(UPGRADE) --extra dev --generate-hashes \
		--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
		--output-file requirements.txt pyproject.toml
