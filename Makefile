# Everything runs from .venv, which `make` builds from a bare Python 3.11 and pip. Start with `make help`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Every name is relative, so that the checkout may lie under any path, with spaces too.
VENV := .venv
BIN := $(VENV)/bin
hash = $(shell cksum $(1) | cut -d ' ' -f 1)
LOCKED := $(VENV)/.locked-$(call hash,requirements.lock)
INSTALLED := $(VENV)/.installed-$(call hash,pyproject.toml)

# pytest exits with 5 where it finds no test: all right if only some were asked for.
none_is_fine = $(if $(ARGS),|| [ $$? -eq 5 ])

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: install ## Run the example pipelines over 336,776 flights, by hand and by a file that arrives; check the results, stop
	@$(BIN)/python -m examples.run_demo

.PHONY: up
up: install examples/data ## Start the whole stack on the example pipelines and keep it running (ARGS="--port 8700")
	@$(BIN)/planasonix up --pipelines examples/pipelines $(ARGS)

.PHONY: test
# The tests start a hundred Python processes, each of which would compile our modules for more than a second.
test: export PYTHONDONTWRITEBYTECODE :=
test: install ## Run the tests: the quick ones, then those that start the stack (ARGS="-k words")
	@$(BIN)/pytest -n 2 -m "not stack" $(ARGS) $(none_is_fine)
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m stack $(ARGS) $(none_is_fine)

.PHONY: chaos
chaos: install ## Kill parts of the stack and set its clock for ten minutes amid runs; check all promises (ARGS="--seed N")
	@$(BIN)/python -m tests.chaos --seconds 600 $(ARGS)

.PHONY: check
check: install ## Check format, lint, import contracts and types, the quickest first
	@$(BIN)/ruff format --check --quiet . || { echo "Run 'make format'."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

.PHONY: format
format: install ## Format the code and fix what the linter can fix
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

.PHONY: bench
bench: install ## Measure all cases, or one (CASE=name), and write benchmarks/results/latest.json
	@$(BIN)/python -m benchmarks $(CASE)

.PHONY: docs
docs: install ## Write the generated pages: docs/nodes.md and the JSON Schemas
	@$(BIN)/planasonix nodes --markdown > docs/nodes.md
	@$(BIN)/planasonix schema pipeline > docs/pipeline.schema.json
	@$(BIN)/planasonix schema connections > docs/connections.schema.json
	@$(BIN)/planasonix schema environments > docs/environments.schema.json
	@$(BIN)/planasonix schema webhooks > docs/webhooks.schema.json

.PHONY: screenshots
screenshots: install ## Take the pictures in docs/images of the Dagster UI (installs Debian's chromium if missing)
	@$(BIN)/python -m examples.screenshots

.PHONY: lock
lock: ## Write requirements.lock anew from pyproject.toml (needs uv)
	@uv pip compile --quiet pyproject.toml --group dev --extra postgres --extra s3 --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 --output-file requirements.lock

.PHONY: clean
clean: ## Remove what the other targets have made: environment, state, caches, data
	@rm -rf $(VENV) .planasonix build dist benchmarks/data benchmarks/results examples/data examples/output \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: install
install: $(LOCKED) $(INSTALLED) ## Bring .venv up to date with the lock (the other targets do it by themselves)
	@:

examples/data: | install
	@$(BIN)/python -m examples.demo.data

# pip compiles what it installs: imports stay quick even where Python may not write bytecode.
$(LOCKED): requirements.lock
	@set -e; \
	for candidate in python3.11 python3; do \
		if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
			python=$$candidate; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make needs Python 3.11, 3.12 or 3.13 as python3.11 or python3 on the PATH." >&2; exit 1; \
	fi; \
	echo "Installing the locked packages into $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --requirement requirements.lock; \
	rm -f $(VENV)/.locked-*; touch $@

$(INSTALLED): pyproject.toml $(LOCKED)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-*; touch $@
