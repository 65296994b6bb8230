# `make demo` and `make test` do everything a fresh machine with make and Python needs.

# The first Python that runs and is new enough; python3 otherwise, which then meets the check below.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.10; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/python examples/kitchenware.py

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) .demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "kerastorch needs Python 3.10 or later; say which with: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp for each kind of install, so that it is repeated only when what to install has changed.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "The tests need Python 3.11 or later (Keras 3.15 does): make clean, then make test PYTHON=python3.11"; exit 1; }
	$(BIN)/python -m pip install --editable '.[test]' --constraint constraints.txt
	@touch $@ $(VENV)/.installed
