# An image that runs experiments, for Kubernetes; docs/kubernetes.md says how.
#
#   docker build --build-arg EXTRA=cuda --tag NAME .    # for TPUs EXTRA=tpu
#
# CUDA's libraries come with jax. NVIDIA's driver, 580 or later, is the node's.
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG EXTRA=cuda
ENV PYTHONUNBUFFERED=1
WORKDIR /perceiver
# What it needs changes seldom, and is gigabytes: a layer below that of the code.
COPY requirements.txt setup.py README.md ./
RUN python -m pip install --no-cache-dir --constraint=requirements.txt \
  ".[${EXTRA}]" tensorboard
COPY . .
RUN python -m pip install --no-cache-dir --no-deps --editable .
