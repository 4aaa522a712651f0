#!/usr/bin/env bash
# Runs an experiment on a Cloud TPU VM slice. docs/launching.md says it in words.
#
#   bash experiments/launch/tpu_vm.sh create    make the slice
#   bash experiments/launch/tpu_vm.sh install   copy the code, mount the bucket
#   bash experiments/launch/tpu_vm.sh start     start the run, or continue it
#   bash experiments/launch/tpu_vm.sh follow    show what its first machine says
#   bash experiments/launch/tpu_vm.sh stop      have it save and end
#   bash experiments/launch/tpu_vm.sh delete    give the slice back
#   bash experiments/launch/tpu_vm.sh keep      all of it, again after preemptions
#
# Run it in the repository: what is committed is what is copied.

set -euo pipefail

# Values to edit. Each can be set in the environment, too.
: "${PROJECT:=my-project}"
: "${ZONE:=europe-west4-b}"
: "${NAME:=perceiver}"
: "${ACCELERATOR:=v5litepod-32}"
: "${RUNTIME:=v2-alpha-tpuv5-lite}"
# Spot machines cost less and may be taken away at any time: yes or no.
: "${SPOT:=no}"
# All machines see it as ~/bucket. It holds the data and everything a run writes.
: "${BUCKET:=my-bucket}"
: "${ARGUMENTS:=--config=experiments/configs/imagenet_io.py \
--data_dir=\$HOME/bucket/data --workdir=\$HOME/bucket/runs/imagenet_io}"
# Of `keep`: seconds between looks, and how many failures end it.
: "${LOOK_EVERY:=60}"
: "${FAILURES:=5}"

tpu() {
  local command=$1
  shift
  gcloud compute tpus tpu-vm "$command" "$@" \
    --project="$PROJECT" --zone="$ZONE" --quiet
}

# Runs a command on one machine or on all.
on() {
  tpu ssh "$NAME" --worker="$1" --command="$2"
}

create() {
  local options=()
  if [[ $SPOT == yes ]]; then
    options+=(--spot)
  fi
  tpu create "$NAME" --accelerator-type="$ACCELERATOR" --version="$RUNTIME" \
    ${options[@]+"${options[@]}"}
}

install() {
  local archive
  archive=$(mktemp -d)/perceiver.tar.gz
  git archive --format=tar.gz --output="$archive" HEAD || return
  tpu scp "$archive" "$NAME:perceiver.tar.gz" --worker=all || return
  rm -r "$(dirname "$archive")"
  on all "set -e
    if ! command -v gcsfuse > /dev/null; then
      key=/usr/share/keyrings/cloud.google.asc
      from=https://packages.cloud.google.com/apt
      curl -fsS \$from/doc/apt-key.gpg | sudo tee \$key > /dev/null
      echo \"deb [signed-by=\$key] \$from gcsfuse-\$(lsb_release -c -s) main\" |
        sudo tee /etc/apt/sources.list.d/gcsfuse.list > /dev/null
      sudo apt-get -q update
      sudo apt-get -q install -y gcsfuse
    fi
    mkdir -p ~/bucket ~/perceiver
    # Machines may otherwise keep what they know of a file for ever.
    mountpoint -q ~/bucket ||
      gcsfuse --implicit-dirs --metadata-cache-ttl-secs=10 '$BUCKET' ~/bucket
    tar -xzf ~/perceiver.tar.gz -C ~/perceiver
    python3 -m pip install --user --quiet uv
    cd ~/perceiver
    # The Python of the machine is too old.
    [ -d .venv ] || python3 -m uv venv --quiet --python=3.12 .venv
    python3 -m uv pip install --quiet --python=.venv/bin/python '.[tpu]'"
}

start() {
  # The run outlives the connection. Its exit code stands in a file at its end.
  on all "cd ~/perceiver
    if [ -f run.pid ] && kill -0 \$(cat run.pid) 2> /dev/null; then
      echo 'It runs already.'
      exit 0
    fi
    rm -f exit_code
    nohup bash -c '
      .venv/bin/python -m experiments.train --multihost=auto $ARGUMENTS &
      echo \$! > run.pid
      wait \$!
      echo \$? > exit_code
    ' >> run.log 2>&1 < /dev/null &"
}

follow() {
  on 0 'tail -n 100 -F ~/perceiver/run.log'
}

stop() {
  on all 'kill -TERM $(cat ~/perceiver/run.pid)'
}

delete() {
  tpu delete "$NAME"
}

# READY, PREEMPTED, ...; MISSING without a slice.
state() {
  tpu describe "$NAME" --format='value(state)' 2> /dev/null || echo MISSING
}

# Prints finished, running, or failed.
progress() {
  on 0 "cd ~/perceiver 2> /dev/null || exit 0
    if [ ! -f exit_code ]; then
      if kill -0 \$(cat run.pid) 2> /dev/null; then
        echo running
      else
        echo failed
      fi
    elif [ \$(cat exit_code) = 0 ] && grep -q '^Final evaluation' run.log; then
      echo finished
    else
      echo failed
    fi" || echo unreachable
}

keep() {
  local failures=0
  while true; do
    case $(state) in
      READY)
        case $(progress) in
          finished)
            echo "The run has finished. Give the slice back: $0 delete"
            return 0
            ;;
          running) ;;
          unreachable) echo 'The slice does not answer.' ;;
          *)
            failures=$((failures + 1))
            if ((failures > FAILURES)); then
              echo "It failed $FAILURES times, see: $0 follow" >&2
              return 1
            fi
            echo "Starting the run, attempt $failures."
            # A slice that does not answer may be on its way out.
            if ! { install && start; }; then
              echo 'The slice does not answer.'
            fi
            ;;
        esac
        ;;
      PREEMPTED | TERMINATED | STOPPED)
        echo 'The slice was taken away: asking for another.'
        delete || true
        create || echo 'None is to be had now.'
        failures=0
        ;;
      MISSING)
        create || echo 'None is to be had now.'
        ;;
    esac
    sleep "$LOOK_EVERY"
  done
}

case ${1:-} in
  create | install | start | follow | stop | delete | keep) "$1" ;;
  *)
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
