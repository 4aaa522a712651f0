#!/usr/bin/env bash
# What a pod of jobset.yaml or jobset_tpu.yaml does: one process of a run. Its
# arguments are those of experiments.train.
#
# A run that was asked to stop ends well, but has not finished. The pod then ends
# badly, so that the run starts again: elsewhere, or after the maintenance. See
# docs/kubernetes.md.

set -euo pipefail

stopped=
child=
trap 'stopped=yes; [[ -z $child ]] || kill -TERM "$child"' TERM
python -u -m experiments.train "$@" &
child=$!
if [[ -n $stopped ]]; then kill -TERM "$child"; fi
code=0
wait "$child" || code=$?
if [[ -n $stopped ]]; then
  wait "$child" || true
  exit 143
fi
exit "$code"
