# make train: train on digits.   make test: run the tests.   make lint: style.
# make soak: a long run, killed again and again, against an unbroken one.
# make docs: tables of docs/.      make golden: check the golden files anew.
# Everything happens in .venv, made from requirements.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Transparent huge pages for large arrays: steps take about two thirds of the
# time on Linux CPUs. Unknown to other allocators and platforms, harmless there.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

TORCH := .venv-golden

.PHONY: train test lint soak docs golden clean

train: $(VENV)/.installed
	$(BIN)/python -m experiments.train --config=experiments/configs/digits.py

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal tests/

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

soak: $(VENV)/.installed
	$(BIN)/python -m tests.soak

# The tables of docs/: models and their counts, parity with published code.
docs: $(VENV)/.installed
	$(BIN)/python -m docs.make_models > docs/models.md
	$(BIN)/python -m tests.golden.parity > docs/parity.md

# Makes the golden files of transformers anew, in memory, and compares.
golden: $(TORCH)/.installed
	$(TORCH)/bin/python tests/golden/make_huggingface.py --check

clean:
	rm -rf $(VENV) $(TORCH)

$(TORCH)/.installed: tests/golden/requirements.txt
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(VENV)/.installed: requirements.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
