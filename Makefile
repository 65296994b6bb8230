# `make demo` and `make test` do everything a fresh machine with make and Python needs.

# The first of these that runs and is new enough for the tests; else python3, checked below.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; done; echo $$p)
VENV := .venv
BIN := $(VENV)/bin
# How many files of tests at a time. Each takes a core, Keras beside it, and up to 10 GB.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test matrix docs bench lint browser clean

demo: $(VENV)/.installed
	$(BIN)/python examples/kitchenware.py

test: $(VENV)/.installed-test lint browser
	$(PYTEST)

# Every architecture, from every format of both writers, and exported, also what is marked `full`: an
# empty -m takes back the one in pyproject.toml.
matrix: $(VENV)/.installed-test
	$(PYTEST) tests/test_applications.py tests/test_matrix.py tests/test_writing.py \
	    tests/test_native.py tests/test_optimization.py tests/test_exporting.py \
	    tests/test_verification.py -m ""

# Inference and training beside Keras, timm, torchvision, onnxruntime and OpenVINO, on a machine that
# does nothing else; some hours. `python -m benchmarks` lists the parts.
bench: $(VENV)/.installed-test
	mkdir -p build/bench
	$(BIN)/python -m benchmarks inference --json build/bench/batch-8.json
	$(BIN)/python -m benchmarks inference --keep-memory all --json build/bench/batch-8-kept.json
	$(BIN)/python -m benchmarks inference --batch 1 --json build/bench/batch-1.json
	$(BIN)/python -m benchmarks inference --contenders auto auto-bf16 --json build/bench/bf16.json
	$(BIN)/python -m benchmarks training --json build/bench/training.json
	for file in build/bench/*.json; do $(BIN)/python -m benchmarks standing $$file; done
	$(BIN)/python -m benchmarks chart build/bench/batch-8.json

# The site, in build/docs.
docs: $(VENV)/.installed-test
	$(BIN)/sphinx-build --quiet -n -W --keep-going docs build/docs

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The tests of the report open it in Chromium or Chrome. `apt-get` has Chromium for root; anyone
# else is told what is missing.
browser: $(VENV)/.installed-test
	@$(BIN)/python -m tests.browser || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	    apt-get update && apt-get install --yes --no-install-recommends chromium && \
	    $(BIN)/python -m tests.browser; } || \
	    { echo "The tests open reports in a browser, and there is none: install Chromium or Google"; \
	      echo "Chrome (in Debian: apt-get install chromium), then run make test again."; exit 1; }

clean:
	rm -rf $(VENV) .demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "kerastorch needs Python 3.10 or later; name one with PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# A stamp for each kind of install, so that it is repeated only when what to install has changed.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "The tests need Python 3.11 or later, as Keras 3.15 does, and .venv has an older one:"; \
	      echo "run make clean, then make test PYTHON=/path/to/python3.11"; exit 1; }
	$(BIN)/python -m pip install --editable '.[test]' --constraint constraints.txt
	@touch $@ $(VENV)/.installed
