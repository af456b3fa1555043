# Two commands: `make demo` to see it, `make test` to check it. Everything they need they install themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PORT ?= 8000
export SPECIMG_HOME ?= .specimg

.PHONY: demo test bench check fix viewer serve wheel clean

demo: $(VENV)/.core viewer ## ingest the samples and serve them; Ctrl-C stops
	$(BIN)/specimg demo

serve: $(VENV)/.core viewer
	$(BIN)/specimg serve

test: $(VENV)/.dev viewer ## Debian peers, Python, TypeScript and browser tests; ends with one count
	scripts/test

check: $(VENV)/.dev viewer/node_modules/.installed ## what CI checks besides tests
	scripts/check

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix src tests benchmarks scripts
	$(BIN)/ruff format src tests benchmarks scripts
	cd viewer && npm run --silent fix

bench: $(VENV)/.bench viewer ## ONLY=first-slice make bench runs one of them
	$(BIN)/python -m benchmarks $(ONLY)

wheel: $(VENV)/.dev viewer
	$(BIN)/python -m build

viewer: src/specimg/api/static/index.html

VIEWER_SOURCES := $(shell find viewer -type f -not -path '*/node_modules/*' -not -path '*/test-results/*' 2>/dev/null)
src/specimg/api/static/index.html: viewer/node_modules/.installed $(VIEWER_SOURCES)
	cd viewer && npm run --silent build
	touch $@

viewer/node_modules/.installed: viewer/package.json viewer/package-lock.json
	cd viewer && npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "specimg needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.core

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	touch $@ $(VENV)/.dev $(VENV)/.core

clean:
	rm -rf $(VENV) viewer/node_modules src/specimg/api/static dist
