# serve, test, test-ops, check, fix, bench, lock, build, image, clean: the only commands one has to know.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := 1
export UV_NO_PROGRESS := 1
export VIRTUAL_ENV :=

.PHONY: help serve test test-quick test-ops check fix bench lock build image clean

help:  ## Show these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

serve: .venv/serve.done  ## Set up everything, then serve on http://127.0.0.1:8000
	@.venv/bin/waypost models pull --if-missing || true
	@exec .venv/bin/waypost serve

test: .venv/dev.done  ## Run every test, on each of Python 3.11-3.13 that is present
	@.venv/bin/waypost models pull --if-missing
	@UV=$(UV) tools/test

test-quick: .venv/dev.done  ## Run the tests without the journeys, on one Python
	@.venv/bin/pytest -q -n 2 -m 'not journey and not ops'

test-ops: .venv/ops.done  ## Try what packs, deploys and watches: images, charts, rules, workflows, a deploy
	@tools/setup-ops
	@.venv/bin/pytest -q -m ops

check: .venv/dev.done  ## Lint, types, layers, generated files
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m tools.generate --check

fix: .venv/dev.done  ## Format, mend what can be mended, write the generated files anew
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
	.venv/bin/python -m tools.generate

bench: .venv/serve.done  ## Measure Waypost beside its peers (QUICK=1: in under three minutes)
	@UV=$(UV) benchmarks/setup
	@.venv/bin/python -m benchmarks $(if $(QUICK),--quick)

lock: $(UV)  ## Resolve the requirements anew: hashes only, no addresses
	UV=$(UV) tools/lock $(UPGRADE)

build: .venv/dev.done  ## Build the wheel and the source archive into dist/
	$(UV) build --no-build-isolation --python .venv/bin/python -q -o dist

image:  ## Build the container image, with docker, podman or buildah
	@tools/image

clean:  ## Remove what the other commands made (not the data folder)
	rm -rf .venv .venv-* .tools .bench dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.tools/bin/uv: requirements/uv.txt
	@$(PYTHON) -m venv .tools || { echo "python3 -m venv does not work here; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/pyvenv.cfg: $(UV)
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	@touch $@

.venv/serve.done: .venv/pyvenv.cfg requirements/serve.txt pyproject.toml
	@echo "Installing what the server needs (once)"
	@$(UV) pip install --quiet --python .venv/bin/python --require-hashes -r requirements/serve.txt
	@$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.done: .venv/pyvenv.cfg requirements/dev.txt pyproject.toml
	@echo "Installing what development needs (once)"
	@$(UV) pip install --quiet --python .venv/bin/python --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
	@touch $@ .venv/serve.done

.venv/ops.done: .venv/dev.done requirements/ops.txt
	@echo "Installing what packing, deploying and watching are tried with (once)"
	@$(UV) pip install --quiet --python .venv/bin/python --require-hashes -r requirements/ops.txt
	@touch $@
