# Globetag. Each target sets up what it needs, from a bare clone on; `make help` lists them.
#
#   make demo PYTHON=python3.12      another Python (3.11 or later) for the virtual environment
#   make test PYTEST_ARGS=tests/unit some of the tests

PYTHON ?= python3
WEIGHTS ?= .globetag/atlas
PYTEST_ARGS ?=

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint audit bench atlas clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## set up, and place photographs of a drawn world with the small models that know it
	@echo "demo: photographs of a drawn toy world, small models trained on it; under a minute"
	@$(BIN)/globetag demo

test: $(READY) ## set up, and run the unit and integration tests
	@echo "test: with what is on this machine, a few minutes; what is skipped says why"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(READY) ## ruff, mypy and the import rules
	@echo "lint: ruff, mypy, import-linter"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

audit: ## look the pinned packages up among the known vulnerabilities (needs the internet; else it says so)
	@PYTHON=$(PYTHON) .ci/audit

bench: $(READY) ## run all benchmarks, quickly; each ends with a line of JSON
	@for file in $$(grep -l __main__ benchmarks/*.py benchmarks/*/__main__.py); do \
		name=$$(echo $$file | sed -e 's|^benchmarks/||' -e 's|/__main__.py$$||' -e 's|\.py$$||'); \
		echo "bench: $$name --quick"; \
		$(BIN)/python -m benchmarks.$$name --quick || exit; \
	done

atlas: $(READY) ## train the small models of the Atlas from nothing (up to an hour on two cores)
# Two processes of one thread each: so small a model gains little from a second thread.
	@echo "atlas: training vlm-start, vlm-best, clip and segmenter in $(WEIGHTS), from nothing"
	@export OMP_NUM_THREADS=1; \
		$(BIN)/python -m atlas.train --output $(WEIGHTS) --only vlm-start,clip,segmenter & beside=$$!; \
		OMP_NUM_THREADS=1 $(BIN)/python -m atlas.train --output $(WEIGHTS) --only vlm-best; status=$$?; \
		wait $$beside && exit $$status
	@$(BIN)/python -m benchmarks.atlas --weights $(WEIGHTS)

clean: ## remove the environment and caches; .globetag (database, models, reports) stays
	@if [ -x $(BIN)/globetag ] && [ -d .globetag ]; then GLOBETAG_DATABASE_URL= $(BIN)/globetag db stop; fi
	@rm -rf .venv .venv-audit build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .ruff_cache
	@find schema worker trainer atlas benchmarks tests -type d -name __pycache__ -prune -exec rm -rf {} +

# torch has three equals signs: with two, a local "+cpu" build would do, and torchvision's build does not fit that.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "set-up: Python 3.11 or later is needed; name one, as in: make demo PYTHON=python3.12" >&2; exit 1; }
	@echo "set-up 1 of 3: a virtual environment in .venv"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "set-up 2 of 3: pip and setuptools"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools
	@echo "set-up 3 of 3: packages; once some 3 GB to download (PyTorch with CUDA), 6 GB on disk, 2 to 10 minutes"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		-c constraints.txt 'torch===2.13.0' -e '.[dev,train]'
	@touch $@
