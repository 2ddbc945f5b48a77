# Everything needs only Python, pip and make. PYTHON=python3.12 make ... takes another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export UV_PYTHON_DOWNLOADS := never
export MPLBACKEND := Agg
unexport PYTHONDONTWRITEBYTECODE  # each start would compile the libraries anew

INSTALL := $(UV) pip install --quiet --python $(BIN)/python
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header
PYTEST := $(BIN)/python -m pytest

.NOTPARALLEL:
.DELETE_ON_ERROR:

# An interpreter asked for by name replaces an environment made with another one.
ifneq ($(origin PYTHON), file)
  WANTED := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())')
  FOUND := $(shell sed -n 's/^version = //p' $(VENV)/pyvenv.cfg 2>/dev/null)
  ifneq ($(WANTED), $(FOUND))
    OTHER := other
  endif
endif

##@ Use it
run: $(VENV)/.run  ## set up (once) and run the default simulation
	@$(BIN)/lpm run $(ARGS)

setup: $(VENV)/.dev  ## set up for development, without running anything

##@ Check it
test: $(VENV)/.dev lint types unit package  ## lint, types, tests and packaging, as CI does

test-all: $(VENV)/.dev lint types  ## the same with the slow tests
	$(call stage,tests,every test and example and the packaging check)
	@$(PYTEST) -q -n 2 --dist worksteal -m ""
	$(call passed,tests)

lint: $(VENV)/.dev  ## ruff: rules and format
	$(call stage,lint,ruff check and ruff format)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check --diff
	$(call passed,lint)

types: $(VENV)/.dev  ## mypy on lpm, lpm.kernels and lpm.calibration
	$(call stage,types,mypy on lpm with its kernels and calibration)
	@$(BIN)/mypy --no-error-summary
	$(call passed,types)

unit: $(VENV)/.dev  ## the tests but the slow ones, and the docstrings' examples (ARGS="-k name" picks)
	$(call stage,tests,laws and examples in the docstrings)
	@$(PYTEST) -q -n 2 --dist worksteal $(ARGS)
	$(call passed,tests)

package: $(VENV)/.dev  ## sdist, wheel from it, installed and tried away from the checkout
	$(call stage,package,sdist and wheel and a clean environment away from the checkout)
	@$(PYTEST) -q -m packaging tests/packaging
	$(call passed,package)

bench: $(VENV)/.dev  ## run the benchmarks and write docs/performance.md (ARGS="core peers" picks)
	@for part in $(or $(ARGS),$(patsubst benchmarks/bench_%.py,%,$(wildcard benchmarks/bench_*.py))); do \
	    echo "== bench    $$part"; $(BIN)/python "benchmarks/bench_$$part.py" || exit 1; done
	@$(BIN)/python benchmarks/performance_page.py

##@ Keep it
format: $(VENV)/.dev  ## let ruff mend and format the sources
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format --quiet

lock: $(VENV)/.installer  ## write requirements/ anew from pyproject.toml (UPGRADE=1 takes the newest versions)
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --group installer --output-file requirements/installer.txt
	@$(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml --all-extras --group build --group installer --output-file requirements/dev.txt
	@$(COMPILE) pyproject.toml --group build --constraint requirements/dev.txt --output-file requirements/run.txt

clean:  ## remove the environment, caches and what was built
	@rm -rf $(VENV) build dist lpm.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this text
	@awk 'BEGIN {FS = ":.*  ## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	      /^[a-z-]+:.*  ## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

.DEFAULT_GOAL := help
.PHONY: run setup test test-all lint types unit package bench format lock clean help $(OTHER)

# Stamps: each names the last step done, so that a second call does nothing.
$(VENV)/.installer: requirements/installer.txt $(OTHER)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit("lpm needs Python 3.11, 3.12 or 3.13; " + sys.executable + " is %d.%d. Name another: PYTHON=python3.12 make run" % v)'
	$(call stage,set-up,$(VENV) with $(PYTHON))
	@$(PYTHON) -m venv $(if $(OTHER),--clear) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	@touch $@

$(VENV)/.run $(VENV)/.dev: $(VENV)/.%: $(VENV)/.installer requirements/%.txt pyproject.toml setup.py
	$(call stage,set-up,requirements/$*.txt and lpm itself)
	@$(INSTALL) --require-hashes -r requirements/$*.txt
# "compat" puts the checkout on the path: the newer way would lose to a folder that happens to be called lpm.
	@$(INSTALL) --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

# One line when a stage begins and one when it has passed.
stage = @printf '== %-8s %s\n' "$(1)" "$(2)"
passed = @printf '== %-8s passed\n' "$(1)"
