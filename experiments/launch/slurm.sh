#!/usr/bin/env bash
# Submits slurm.sbatch, as a job named after its workdir: of several jobs of one
# name one runs at a time, and each continues the one before. Runs in other
# workdirs do not wait. docs/slurm.md says it in words. In the repository:
#
#   bash experiments/launch/slurm.sh [--OPTION-OF-sbatch ...] -- \
#     --config=... --workdir=...
#
# Nothing needs editing: options of sbatch win over the lines of #SBATCH.

set -euo pipefail

: "${PYTHON:=.venv/bin/python}"
export PYTHON

refuse() {
  echo "Error: $1" >&2
  exit 2
}

options=()
while [[ $# != 0 && $1 != -- ]]; do
  options+=("$1")
  shift
done
if [[ $# -lt 2 ]]; then
  sed -n '6,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
shift

workdir=
for argument in "$@"; do
  case $argument in --workdir=?*) workdir=${argument#*=} ;; esac
done
if [[ -z $workdir ]]; then
  refuse 'The job has the name of its workdir. After --, say --workdir=FOLDER.'
fi
if ! command -v sbatch > /dev/null; then
  refuse 'There is no sbatch here. Submit on a login node of a Slurm cluster.'
fi
if ! command -v "$PYTHON" > /dev/null; then
  refuse "There is no $PYTHON in $PWD. Be in the repository, make .venv there \
as docs/slurm.md says, or set PYTHON."
fi

# The same folder, written in another way, is the same run.
case $workdir in
  *://*) ;;
  *) workdir=$(realpath --canonicalize-missing -- "$workdir") ;;
esac
checksum=$(cksum <<< "$workdir")
exec sbatch \
  --job-name="$(basename "$workdir")-${checksum%% *}" \
  --dependency=singleton \
  ${options[@]+"${options[@]}"} \
  "$(dirname "$0")/slurm.sbatch" "$@"
