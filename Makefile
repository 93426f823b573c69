# The two commands of a fresh machine: `make demo` and `make test`. Everything lands in .venv; nothing else is touched.

PYTHON ?= python3
EXAMPLE ?= examples/cat.png
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint

demo: .venv/demo
	.venv/bin/sketch-colorizer colorize $(EXAMPLE) --output $(notdir $(basename $(EXAMPLE)))_colorized.png --overwrite

test: .venv/test lint
	.venv/bin/python -m pytest --numprocesses 2 --dist loadfile

lint: .venv/test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml | .venv/bin/python
	$(PIP) --editable .
	touch $@

.venv/test: pyproject.toml | .venv/bin/python
	$(PIP) --editable ".[dev]"
	touch $@ .venv/demo
