# Everything here works on a fresh machine with Python >= 3.11 and make; `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help demo test lint types docs bench serve
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

help: ## list the targets
	@awk -F ':.*## ' '/^[.a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: .venv/ready ## set up all: the virtual environment, from requirements.lock
LOCKS := requirements.lock requirements-cuda.lock requirements-train.txt pyproject.toml scripts/setup.sh
.venv/ready: $(LOCKS)
	@sh scripts/setup.sh "$(PYTHON)"
	@touch .venv/train
.venv/train: $(LOCKS)
	@sh scripts/setup.sh "$(PYTHON)" train

demo: .venv/train ## the whole way on the synthetic world: photos, model, report, predictions
	@$(BIN)/whichland demo

# A worker more than there are cores, which keeps them busy throughout (two more take as long); each has one thread.
# A file's tests stay together. A worker that dies ends the run: one in its place may be waited for without end.
WORKERS = $$($(BIN)/python -c "import os; print(min(8, (os.cpu_count() or 1) + 1))")
test: .venv/ready ## run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

lint: .venv/ready ## ruff, the import contracts, and that what is imported is declared
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/python scripts/dependencies.py

types: .venv/ready ## mypy, strict
	@$(BIN)/mypy

docs: .venv/ready ## generate docs/reference from the code, then run every command of README and tutorials as printed
	@$(BIN)/python scripts/reference.py
	@$(BIN)/python scripts/run_docs.py

bench: .venv/ready ## peers and limits beside ours, in one run; also bench-NAME, and ARGS=--quick for two minutes each
	@$(BIN)/python benchmarks/run.py $(ARGS)

bench-%: .venv/ready
	@$(BIN)/python benchmarks/run.py $* $(ARGS)

serve: .venv/train ## the page where anyone drops a photo, with the demo's model
	@[ -d runs/demo/run/bundle ] || $(BIN)/whichland demo
	@$(BIN)/whichland serve runs/demo/run/bundle --play runs/demo/world.parquet
