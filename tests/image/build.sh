#!/usr/bin/env bash
# Builds the Dockerfile and trains in a container of it, a few steps on CPUs:
# with docker where its daemon answers, else with buildah. Where no registry of
# images can be reached, buildah starts from a Debian 12 of debootstrap (as
# root) in place of python:3.12-slim.

set -euo pipefail
cd "$(dirname "$0")/../.."

# The smallest of the extras: those of accelerators are gigabytes.
build=(--build-arg EXTRA=serve --tag perceiver-test)
train=(
  bash experiments/launch/pod.sh --config=experiments/configs/digits.py
  --config.train_steps=4 --config.batch_size=8 --config.report.seconds=0
  --workdir=/tmp/run
)

# A folder with a Dockerfile of Debian's Python.
make_base() {
  debootstrap --variant=minbase \
    --include=ca-certificates,python3,python3-pip,python-is-python3 \
    bookworm "$1/root"
  rm -f "$1"/root/usr/lib/python3*/EXTERNALLY-MANAGED
  tar --directory="$1/root" --exclude='./proc/*' --exclude='./sys/*' \
    --create --file="$1/root.tar" .
  printf 'FROM scratch\nADD root.tar /\n' > "$1/Dockerfile"
}

with_buildah() {
  export BUILDAH_ISOLATION=chroot
  local container folder
  if ! buildah pull docker.io/library/python:3.12-slim; then
    folder=$(mktemp -d)
    make_base "$folder"
    buildah bud --tag perceiver-base "$folder"
    rm -r "$folder"
    build+=(--build-arg BASE=localhost/perceiver-base)
  fi
  # With the certificates that this machine trusts.
  buildah bud --volume /etc/ssl/certs:/etc/ssl/certs:ro "${build[@]}" .
  container=$(buildah from localhost/perceiver-test)
  buildah run "$container" -- "${train[@]}"
  buildah rm "$container" > /dev/null
}

with_docker() {
  docker build "${build[@]}" .
  docker run --rm perceiver-test "${train[@]}"
}

if docker info > /dev/null 2>&1; then
  said=$(with_docker | tee /dev/stderr)
else
  said=$(with_buildah | tee /dev/stderr)
fi
grep -q '^Final evaluation: ' <<< "$said"
