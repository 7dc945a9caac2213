# Everything happens in .venv, made at first use and brought up to date when what it is made from changes.
#   make install    install hnas
#   make run        install, and run the quick preset from end to end
#   make test       install with the test extras, and run all tests but the slow ones: minutes
#   make test-fast  the tests to run between edits: the house, the core, a conformance class of each kind, a tiny run
#   make test-slow  the tests that take long or are of something rare
#   make fmt        format, and fix what ruff can fix
#   make lint       ruff and mypy
#   make docs       the documentation's site, in site/; what is wrong with it is an error
#   make arm-binaries  build the programs that ARM boards run, after a change of their C sources
# PYTHON picks the interpreter that a new .venv is made with: make test PYTHON=python3.12
# PYTEST_WORKERS is how many processes share the tests; 0 is none beside pytest's own, as a debugger needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt core/hnas/_version.py
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
PYTEST_WORKERS ?= 2
# A file's tests stay in one process: they share fixtures, and some go on from one another.
PYTEST := $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile
FAST := tests/test_house.py tests/core \
  tests/conformance/test_spaces_conform.py::TestTiny tests/conformance/test_learners_conform.py::TestMAML \
  tests/conformance/test_tasks_conform.py::TestTiny tests/conformance/test_backends_conform.py::TestEyeriss \
  tests/conformance/test_strategies_conform.py::TestGenetic \
  tests/app/usecases/test_api.py::test_results_can_be_read_without_the_objects_and_no_phase_done

# With spinning OpenMP threads a busy machine is many times slower.
export OMP_WAIT_POLICY ?= PASSIVE
# What is set in a shell for other projects must not leak into .venv.
unexport PYTHONPATH PYTHONHOME

.PHONY: install run test test-fast test-slow fmt lint docs ray arm-binaries arm-compiler
.NOTPARALLEL:

install: $(VENV)/.run

run: $(VENV)/.run
	$(BIN)/hnas run --space vgg9 --backend eyeriss --preset quick

# Each process has one core.
test test-fast test-slow: export OMP_NUM_THREADS ?= 1

test: $(VENV)/.test
	$(PYTEST)

test-fast: $(VENV)/.test
	$(PYTEST) $(FAST)

# pytest exits with 5 where no test is marked slow.
test-slow: $(VENV)/.test
	@$(PYTEST) -m slow; code=$$?; if [ $$code -eq 5 ]; then echo "no test is marked slow"; else exit $$code; fi

fmt: $(VENV)/.lint
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict --quiet
	@echo "the site is in site/index.html"

# The prebuilt ARM programs beside the backend's code: byte for byte the same with the ziglang of constraints.txt.
arm-binaries: arm-compiler
	$(BIN)/python -m hnas_backends.arm.build

# A real Ray cluster for the slow tests.
ray: $(VENV)/.test
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt 'ray[client]'

arm-compiler: $(VENV)/.test
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt ziglang

$(VENV)/.run: $(VENV)/.made $(SOURCES)
	@echo "installing hnas into $(VENV); the first time this takes minutes"
	$(INSTALL) .
	@touch $@

$(VENV)/.test: $(VENV)/.made $(SOURCES)
	@echo "installing hnas with its test extras into $(VENV); the first time this takes minutes"
	$(INSTALL) '.[test]'
	@touch $@

$(VENV)/.lint: $(VENV)/.made $(SOURCES)
	@echo "installing hnas with its lint extras into $(VENV); the first time this takes minutes"
	$(INSTALL) '.[lint]'
	@touch $@

$(VENV)/.docs: $(VENV)/.made $(SOURCES)
	@echo "installing hnas with its docs extras into $(VENV); the first time this takes minutes"
	$(INSTALL) '.[docs]'
	@touch $@

# A .venv that is there stays, unless it is unfinished or its Python is too old or gone.
$(VENV)/.made:
	@$(BIN)/python -c 'import pip; $(RECENT)' 2>/dev/null || { \
	  $(PYTHON) -c '$(RECENT)' 2>/dev/null || { \
	    echo "error: hnas needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; \
	    echo "hint: name another one, as in: make $(or $(firstword $(MAKECMDGOALS)),run) PYTHON=python3.12" >&2; \
	    exit 1; }; \
	  echo "making $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	    echo "hint: on Debian and Ubuntu, 'apt install python3-venv' gives Python what it lacks" >&2; exit 1; }; }
	@touch $@
