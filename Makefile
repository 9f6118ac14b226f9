# Credence. `make` or `make help` lists what there is; `make demo` and `make test` need only Python 3.11+ and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := proto libs/eventcore libs/servicekit libs/catalogue services/enrolment services/accreditation services/mentoring cli

##@ First steps
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.ready ## the virtual environment, from the hashed locks (the other targets call it)

$(VENV)/.ready: requirements-uv.lock requirements-dev.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Credence needs Python 3.11 or newer; this is %d.%d. Name one: make PYTHON=/path/to/python3.11 ..." % sys.version_info[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian: apt install python3-venv" >&2; exit 2; }
	@echo "Setting up $(VENV) (once; about half a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip --quiet --disable-pip-version-check install --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip sync --python $(BIN)/python --require-hashes requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@touch $@

##@ Locks and generated code
LOCAL := $(foreach p,proto eventcore servicekit catalogue enrolment accreditation mentoring cli,--no-emit-package credence-$(p)) --no-emit-package credence
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-annotate --no-header $(LOCAL)
lock: setup ## resolve every dependency again, with hashes, naming no registry
	$(LOCK) $(addsuffix /pyproject.toml,$(PACKAGES)) -o requirements.lock
	$(LOCK) -c requirements.lock requirements.lock pyproject.toml --group dev -o requirements-dev.lock

.PHONY: help setup lock
