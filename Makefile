# make train: train on digits.    make test: run the tests.    make lint: style.
# make test-slow: tests of whole runs.  make test-core: what leans most on the
# releases of jax and Haiku.  make test-oldest: that, with the oldest ones that
# setup.py admits.  make test-newest: the tests with the newest.
# make browser: tests of pages, with a Chromium that is installed.
# make slurm, make gcloud, make image: the launchers on a Slurm, gcloud's own code
# and a container, where these are installed.
# make golden: check the golden files anew.
# make aot: programs compiled for TPUs and GPUs that are not here.
# make aot-slow: published models too, as docs/accelerators.md says; about an hour.
# make soak: a long run, killed again and again, against an unbroken one.
# make docs: tables of docs/.     make site: the documentation as a web site.
# make requirements: requirements.txt anew, as setup.py asks; what is pinned
# stays, but with UPGRADE=--upgrade.
# Everything happens in .venv, made from requirements.txt by `python3`. Another
# Python, beside it: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS := tests/
# Of an older Python, pip says only that it finds no release of something.
NEW_VENV := $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
  "Python 3.11 or later is needed, this is " + sys.version.split()[0] + \
  ". Name another: make test PYTHON=python3.12")' && $(PYTHON) -m venv

# Transparent huge pages for large arrays: steps take about two thirds of the
# time on Linux CPUs. Unknown to other allocators and platforms, harmless there.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

TORCH := .venv-golden
OLDEST := .venv-oldest
NEWEST := .venv-newest
AOT := .venv-aot
SITE := .venv-docs
PINS := .venv-pins
PYTEST := -m pytest --numprocesses=auto --dist=worksteal
# What leans most on the releases of jax and Haiku.
CORE := tests/test_support_window.py tests/perceiver_jax/test_layers.py \
  tests/perceiver_jax/test_decoder.py tests/perceiver_jax/test_multimodal.py \
  tests/experiments/test_memory.py tests/experiments/test_operations.py \
  tests/experiments/test_compiled_step.py tests/experiments/test_optimizers.py \
  tests/experiments/test_parallelism.py tests/experiments/test_checkpoints.py

.PHONY: train test test-slow test-core test-oldest test-newest browser slurm \
  gcloud image aot aot-slow lint soak docs site requirements golden clean

train: $(VENV)/.installed
	$(BIN)/python -m experiments.train --config=experiments/configs/digits.py

test: $(VENV)/.installed
	$(BIN)/python $(PYTEST) -m 'not slow' $(TESTS)

test-slow: $(VENV)/.installed
	$(BIN)/python $(PYTEST) -m slow $(TESTS)

test-core: $(VENV)/.installed
	$(BIN)/python $(PYTEST) $(CORE)

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python $(PYTEST) $(CORE)

test-newest: $(NEWEST)/.installed
	$(NEWEST)/bin/python $(PYTEST) -m 'not slow' tests/

browser: $(VENV)/.installed
	$(BIN)/python -m pytest tests/browser

# Daemons of its own, on free ports of this machine.
slurm: $(VENV)/.installed
	$(BIN)/python -m pytest tests/slurm

gcloud: $(VENV)/.installed
	$(BIN)/python -m pytest tests/gcloud

image:
	bash tests/image/build.sh

aot: $(AOT)/.installed
	$(AOT)/bin/python $(PYTEST) -m 'not slow' tests/aot

# One process: a compilation takes all cores, and gigabytes.
aot-slow: $(AOT)/.installed
	$(AOT)/bin/python -m pytest -m slow tests/aot

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

soak: $(VENV)/.installed
	$(BIN)/python -m tests.soak

# The tables of docs/: models and their counts, parity with published code.
docs: $(VENV)/.installed
	$(BIN)/python -m docs.make_models > docs/models.md
	$(BIN)/python -m tests.golden.parity > docs/parity.md
	$(BIN)/python -m docs.make_scaling > docs/scaling.md

site: $(SITE)/.installed
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict

requirements:
	$(NEW_VENV) $(PINS)
	$(PINS)/bin/python -m pip install --quiet uv
	$(PINS)/bin/uv pip compile --quiet $(UPGRADE) --universal --python-version=3.11 \
	  --extra=dev --no-annotate --output-file=requirements.txt setup.py

# Makes the golden files of transformers anew, in memory, and compares.
golden: $(TORCH)/.installed
	$(TORCH)/bin/python tests/golden/make_huggingface.py --check
	$(TORCH)/bin/python tests/golden/make_saved.py --check

clean:
	rm -rf .venv .venv-* build

$(TORCH)/.installed: tests/golden/requirements.txt
	$(NEW_VENV) $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(VENV)/.installed: requirements.txt setup.py
	$(NEW_VENV) $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(OLDEST)/.installed: requirements.txt requirements-oldest.txt setup.py
	$(NEW_VENV) $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --requirement requirements.txt
	$(OLDEST)/bin/python -m pip install --quiet --requirement requirements-oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(NEWEST)/.installed: setup.py
	$(NEW_VENV) $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --editable '.[dev]'
	touch $@

# The compilers in the version that jax asks for; of CUDA only XLA's part.
$(AOT)/.installed: requirements.txt setup.py
	$(NEW_VENV) $(AOT)
	$(AOT)/bin/python -m pip install --quiet --requirement requirements.txt 'jax[tpu,cuda13-local]'
	$(AOT)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(SITE)/.installed: setup.py
	$(NEW_VENV) $(SITE)
	$(SITE)/bin/python -m pip install --quiet --editable '.[docs]'
	touch $@
