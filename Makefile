# Two commands: `make demo` and `make test`. Both make .venv first; nothing is installed by hand.
PYTHON ?= python3
BIN := .venv/bin/python
PIP := $(BIN) -m pip install --quiet -c constraints.txt
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint docs model study study-quick clean

demo: .venv/installed model
	$(BIN) -m wherefrom demo --out runs/demo

test: .venv/installed-dev model lint docs
	$(BIN) -m pytest -n logical --dist loadfile --no-loadscope-reorder

lint: .venv/installed-dev
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -m mypy
	$(BIN) -c "from importlinter.cli import lint_imports_command as c; c()"

# strictly: a broken link, or a page that no menu has, ends it
docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN) -m mkdocs build --strict

# hours; goes on where it stopped, and leaves what is made already
study: .venv/installed-dev model
	$(BIN) -m study

study-quick: .venv/installed-dev model
	$(BIN) -m study --quick

model: .venv/installed
	$(BIN) -c "from wherefrom.models import builtin_model; builtin_model('smollm2-135m')"

.venv/made:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'wherefrom needs Python 3.11 or newer: make PYTHON=python3.11 …')"
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/made pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
