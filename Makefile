# Everything is run from a virtual environment that make sets up by itself, from the lock alone.

PYTHON ?= python3
BACKEND ?= local
IMAGES ?=
WHAT ?= polls

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
COMPOSE ?= docker compose

.DEFAULT_GOAL := help
.PHONY: help install run test bench streams lint types imports check lock up down clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## Set up .venv with everything that the lock names

run: $(READY) ## Make clips of the sample photos; BACKEND=cloud IMAGES="a.jpg b.jpg" pays for real ones
	@exec $(BIN)/python -m tasks.demo --backend $(BACKEND) $(IMAGES)

test: $(READY) ## Run all tests; ARGS="-k name" chooses among them
	@exec $(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

bench: $(READY) ## Measure polls under full streams; WHAT=list names the other measurements
	@exec $(BIN)/python -m tests.bench $(WHAT) $(ARGS)

streams: $(READY) ## Hear hostile event streams; ARGS="--count 1000000 --seed 7"
	@exec $(BIN)/python -m tests.soak.streams $(ARGS)

faults: $(READY) ## Kill, freeze and cut everything under 500 jobs, and check both ledgers; ARGS="--seed 1"
	@exec $(BIN)/python -m tests.faults.campaign $(ARGS)

points: $(READY) ## Kill a worker at every named point, twice each; ARGS="begin_paid" chooses among them
	@exec $(BIN)/python -m tests.faults.points $(ARGS)

soak: $(READY) ## The same for half an hour over 5,000 jobs; ARGS="--seconds 7200"
	@exec $(BIN)/python -m tests.faults.campaign --seconds 1800 --jobs 5000 --kills 500 \
		--restarts 50 --duplicated 20000 --dropped 500 --freeze-seconds 20 $(ARGS)

lint: $(READY) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check the types
	$(BIN)/mypy

imports: $(READY) ## Check that dependencies point one way
	$(BIN)/lint-imports

check: lint types imports ## lint, types and imports

lock: $(READY) ## Choose the newest versions that pyproject.toml allows, and lock them by hash
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--extra local --group dev --output-file requirements.lock pyproject.toml

up: .env ## Start Valkey, a worker and Flower in containers
	$(COMPOSE) up --build --detach

down: ## Stop the containers; a worker hears its paid streams to their end first
	$(COMPOSE) down

clean: ## Remove caches and what `make run` left; keeps .venv and what was paid for
	rm -rf build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
		.ruff_cache var/demo
	find config worker tasks sandbox tests -type d -name __pycache__ -prune -exec rm -rf {} +

.env:
	cp .env.example $@
	@echo "Wrote $@: set FLOWER_BASIC_AUTH and NEMO_TOKEN in it."

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("reelqueue needs Python 3.11 or newer: name it with PYTHON=…" \
		if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
