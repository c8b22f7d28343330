# Every target runs in a virtual environment, which make creates from requirements.lock.

PYTHON ?= python3
BACKEND ?= local
IMAGES ?=
WHAT ?= table

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
COMPOSE ?= docker compose

# Passed through the environment, because file names may contain spaces and shell metacharacters.
export BACKEND IMAGES

.DEFAULT_GOAL := help
.PHONY: help install run test bench bench-quick streams answers faults points soak lint types imports check lock up down clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## Create .venv from requirements.lock

run: $(READY) ## Make clips of the sample photos; BACKEND=cloud IMAGES="a.jpg b.jpg" uses the real API and your photos
	@exec $(BIN)/python -m tasks.demo --backend "$$BACKEND" --images "$$IMAGES"

# More processes than a small machine has CPUs, because tests mostly wait. PYTHONDONTWRITEBYTECODE is
# unset, so that the test files are not compiled again by each process.
test: $(READY) ## Run all tests; ARGS="-k NAME" selects some
	@exec env PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 5 $(ARGS)

bench: $(READY) ## Measure the cost of a job compared with alternatives; WHAT=list lists all measurements
	@exec $(BIN)/python -m tests.bench $(WHAT) $(ARGS)

bench-quick: $(READY) ## Run some measurements for a few seconds each, to see that they work
	@exec $(BIN)/python -m tests.bench quick

streams: $(READY) ## Read random malformed event streams; ARGS="--count 1000000 --seed 7"
	@exec $(BIN)/python -m tests.soak.streams $(ARGS)

answers: $(READY) ## Read random JSON as responses of the video API; ARGS="--count 1000000 --seed 7"
	@exec $(BIN)/python -m tests.soak.answers $(ARGS)

faults: $(READY) ## Inject faults while 500 jobs run, then check the records; ARGS="--seed 1"
	@exec $(BIN)/python -m tests.faults.campaign $(ARGS)

points: $(READY) ## Kill a worker at each fault point of its work, twice each; ARGS="begin_paid" selects some
	@exec $(BIN)/python -m tests.faults.points $(ARGS)

soak: $(READY) ## Read 200,000 random responses and messages, then inject faults while 5,000 jobs run for half an hour; ARGS="--seconds 7200"
	@$(BIN)/python -m tests.soak.answers --count 100000
	@$(BIN)/python -m tests.soak.messages --count 100000
	@exec $(BIN)/python -m tests.faults.campaign --seconds 1800 --jobs 5000 --kills 500 \
		--intake-kills 20 --restarts 20 --losses 20 --refusals 20 --duplicated 20000 --dropped 500 \
		--doubled 200 --decided 20 --freeze-seconds 20 $(ARGS)

lint: $(READY) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types
	$(BIN)/mypy

imports: $(READY) ## Check the import rules
	$(BIN)/lint-imports

check: lint types imports ## Run lint, types and imports

lock: $(READY) ## Lock the newest versions that pyproject.toml allows, by hash
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--extra local --group dev --output-file requirements.lock pyproject.toml

up: .env ## Start Valkey, a worker and Flower in containers
	$(COMPOSE) up --build --detach

down: ## Stop the containers, after the workers have read the streams of paid messages to their end
	$(COMPOSE) down

clean: ## Delete caches and the results of `make run`; keeps .venv and clips that were paid for
	rm -rf build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
		.ruff_cache var/demo
	find config worker tasks sandbox tests -type d -name __pycache__ -prune -exec rm -rf {} +

.env:
	cp .env.example $@
	@echo "Wrote $@: set FLOWER_BASIC_AUTH and NEMO_TOKEN in it."

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("reelqueue needs Python 3.11 or newer: set PYTHON to its path" \
		if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
