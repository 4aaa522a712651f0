# make train: train on digits.   make test: run the tests.   make lint: style.
# Everything happens in .venv, made from requirements.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Transparent huge pages for large arrays: steps take about two thirds of the
# time on Linux CPUs. Unknown to other allocators and platforms, harmless there.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: train test lint clean

train: $(VENV)/.installed
	$(BIN)/python -m experiments.train --config=experiments/configs/digits.py

test: $(VENV)/.installed
	$(BIN)/python -m pytest tests/

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV)

$(VENV)/.installed: requirements.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
