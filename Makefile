# Credence. `make` or `make help` lists what there is; `make demo` and `make test` need only Python 3.11+ and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
# Without bytecode each of the many processes that are started compiles all that it imports: 4 s of the 5 that takes.
unexport PYTHONDONTWRITEBYTECODE
# Tests mostly wait for servers: more workers than cores.
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
TYPED := libs services cli tests scripts bench conftest.py
RELEASED := proto/released.binpb
PACKAGES := proto libs/eventcore libs/servicekit libs/catalogue services/enrolment services/accreditation services/mentoring cli

##@ First steps
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.ready ## the virtual environment, from the hashed locks (the other targets call it)

$(VENV)/.ready: requirements-uv.lock requirements-dev.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Credence needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Credence needs Python 3.11 or newer; this is %d.%d. Name one: make PYTHON=/path/to/python3.11 ..." % sys.version_info[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian: apt install python3-venv" >&2; exit 2; }
	@echo "Setting up $(VENV) (once; about half a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@{ $(BIN)/pip --quiet --disable-pip-version-check install --require-hashes -r requirements-uv.lock && \
		$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements-dev.lock; } || \
		{ echo "The packages could not be installed (see above): is the package index reachable, and is there 1 GiB of free disk? Run the same command again; it goes on where it stopped." >&2; exit 2; }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@touch $@

##@ The main job
demo: setup ## the whole platform on embedded servers, shown step by step (KEEP=1 leaves it running, PORT=20000 elsewhere)
	@$(BIN)/credence demo $(if $(KEEP),--keep) $(if $(PORT),--port $(PORT))

##@ Checks
test: setup check ## everything that must hold: format, lint, types, contracts, drift, and every test
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST)

check: setup ## the static half of `make test`, a minute or so
	@$(BIN)/ruff format --check --quiet . || { echo "run make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy $(TYPED)
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/buf lint
	@$(BIN)/buf breaking --against $(RELEASED) || { echo "the contract breaks clients and events of the last release: give back what it had, and add beside it" >&2; exit 1; }
	@$(BIN)/python scripts/generate_protos.py --check
	@$(BIN)/python scripts/goldens.py --check
	@$(BIN)/credence catalogue check

test-import: setup ## the whole of OULAD imported and compared, with every difference explained
	@$(BIN)/pytest -m slow tests/system $(PYTEST)

test-reliability: setup ## faults against promises for up to two and a half hours, with a report (MINUTES=30 for less, SEED=7 replays a run)
	@$(BIN)/python -m tests.reliability $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

format: setup ## format the code and mend what ruff can mend
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix .

goldens: setup ## write the golden files that are missing (none is ever changed); look at them and commit them
	@CREDENCE_GOLDENS=add $(BIN)/pytest -q services/*/tests/domain/test_stored_events.py services/*/tests/application/test_public_events.py libs/eventcore/tests/test_kernel_documents.py
	@$(BIN)/python scripts/goldens.py --add

corpus: setup ## record the stories for later releases to replay (NAME=...), or accept what comes out otherwise (REASON=...)
	@test -n "$(NAME)$(REASON)" || { echo 'say make corpus NAME=2026-12-later, or make corpus REASON="why it comes out otherwise"' >&2; exit 2; }
	@$(BIN)/python -m tests.corpus.record $(if $(NAME),new "$(NAME)",renew "$(REASON)")
	@$(BIN)/python scripts/goldens.py --add

##@ Figures
bench: setup ## what it costs beside the bare libraries (BENCH="appends --quick"; BENCH=report runs all)
	@$(BIN)/python -m bench $(BENCH)

##@ Locks and generated code
proto: setup ## generate the contracts package from proto/**/*.proto
	@$(BIN)/buf lint
	@$(BIN)/python scripts/generate_protos.py

proto-release: setup ## keep today's contract as the released one, which later ones may not break (part of a release)
	@$(BIN)/buf breaking --against $(RELEASED)
	@$(BIN)/buf build --exclude-source-info -o $(RELEASED)

LOCAL := $(foreach p,proto eventcore servicekit catalogue enrolment accreditation mentoring cli,--no-emit-package credence-$(p)) --no-emit-package credence
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-annotate --no-header $(LOCAL)
lock: setup ## resolve every dependency again, with hashes, naming no registry
	$(LOCK) $(addsuffix /pyproject.toml,$(PACKAGES)) -o requirements.lock
	$(LOCK) -c requirements.lock requirements.lock pyproject.toml --group dev -o requirements-dev.lock

.PHONY: help setup demo test check test-import test-reliability format goldens corpus bench proto proto-release lock
