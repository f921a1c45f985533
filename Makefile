# Every target makes the virtual environment it needs by itself: `make demo` and `make test` work on a fresh clone.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test thorough lint bench eval lock clean unit contract-data

demo: $(VENV)/ready
	@$(BIN)/gamma demo $(ARGS)

test: $(VENV)/ready lint contract-data
	@$(BIN)/pytest -n 3 --dist worksteal -m "not thorough" $(ARGS)

# The proofs that take longest: terraform, replicas that are killed, every order of a day's events, PostgreSQL under kill -9.
thorough: $(VENV)/ready contract-data
	@$(BIN)/pytest -n 3 --dist worksteal -m thorough $(ARGS)

unit: $(VENV)/ready
	@$(BIN)/pytest $(ARGS)

lint: $(VENV)/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

bench: $(VENV)/ready
	@for file in tests/benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# What a real model writes about the evaluation's cases: needs GAMMA_ANTHROPIC_API_KEY, and costs about two dollars a model.
eval: $(VENV)/ready
	@$(BIN)/python -m tests.agent_eval $(ARGS)

# GitHub's published contract (OpenAPI description, webhook examples and schemas), for the tests that check the sandbox.
contract-data: tests/contract/node_modules/.ready
tests/contract/node_modules/.ready: tests/contract/package-lock.json
	@if command -v npm >/dev/null; then \
	  cd tests/contract && npm ci --silent --no-audit --no-fund && touch node_modules/.ready; \
	else echo "npm is not here: the contract tests will be skipped"; fi

$(VENV)/ready: requirements/dev.txt requirements/uv.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Gamma needs Python 3.11 or newer; found $(PYTHON). Try: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (about a minute the first time) …"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/dev.txt requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# Pins are renewed on purpose only: with hashes, for every platform, without registry addresses.
lock:
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra demo --extra sagemaker pyproject.toml -o requirements/runtime.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra demo --extra sagemaker --group dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	@echo uv | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 - -o requirements/uv.txt

clean:
	rm -rf $(VENV) tests/contract/node_modules
