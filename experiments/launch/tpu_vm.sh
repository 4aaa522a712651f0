#!/usr/bin/env bash
# Runs an experiment on a Cloud TPU VM slice: see docs/tpu_vm.md.
#
#   bash experiments/launch/tpu_vm.sh create    make the slice
#   bash experiments/launch/tpu_vm.sh install   copy the code, mount the bucket
#   bash experiments/launch/tpu_vm.sh start     start the run, or continue it
#   bash experiments/launch/tpu_vm.sh follow    show what its first machine says
#   bash experiments/launch/tpu_vm.sh stop      have it save and end
#   bash experiments/launch/tpu_vm.sh delete    give the slice back
#   bash experiments/launch/tpu_vm.sh keep      all this, again after preemption
#
# Run it in the repository: what is committed is what is copied. Nothing needs
# editing: values below that the environment sets are taken from there.

set -euo pipefail

# These two have no default. All machines see the bucket as ~/bucket. It holds
# the data and everything a run writes.
: "${PROJECT:=}"
: "${BUCKET:=}"
: "${ZONE:=europe-west4-b}"
: "${NAME:=perceiver}"
# docs/tpu_vm.md has the runtime of each generation.
: "${ACCELERATOR:=v5litepod-32}"
: "${RUNTIME:=v2-alpha-tpuv5-lite}"
# Spot machines cost less and may be taken away at any time: yes or no.
: "${SPOT:=no}"
# Whether `create` waits in the zone's queue until there is a slice: yes or no.
: "${QUEUED:=no}"
# How machines are reached: by external addresses; by internal ones, from a
# machine of the same network; or by these, through Google's tunnel (iap).
: "${REACH:=external}"
: "${ARGUMENTS:=--config=experiments/configs/imagenet_io.py \
--data_dir=\$HOME/bucket/data --workdir=\$HOME/bucket/runs/imagenet_io}"
# Set for the run, such as JAX_OPTIMIZATION_LEVEL=O1.
: "${VARIABLES:=}"
# Seconds between looks, of `create` and `keep`; how many failures end `keep`.
: "${LOOK_EVERY:=60}"
: "${FAILURES:=5}"

refuse() {
  echo "Error: $1" >&2
  exit 2
}

check() {
  [[ -n $PROJECT ]] || refuse 'Set PROJECT, to your Google Cloud project.'
  [[ -n $BUCKET ]] || refuse 'Set BUCKET, to the name of a bucket: no gs://.'
  one_of SPOT "$SPOT" yes no
  one_of QUEUED "$QUEUED" yes no
  one_of REACH "$REACH" external internal iap
}

one_of() {
  local name=$1 value=$2
  shift 2
  [[ " $* " == *" $value "* ]] || refuse "$name is $value, not one of: $*."
}

cloud() {
  gcloud "$@" --project="$PROJECT" --zone="$ZONE" --quiet
}

tpu() {
  cloud compute tpus tpu-vm "$@"
}

queue() {
  cloud compute tpus queued-resources "$@"
}

# `ssh` or `scp`, to one machine or to all.
reach() {
  case $REACH in
    external) tpu "$@" ;;
    internal) tpu "$@" --internal-ip ;;
    iap) cloud alpha compute tpus tpu-vm "$@" --tunnel-through-iap ;;
  esac
}

# Runs a command on one machine or on all.
on() {
  if [[ $1 == all ]]; then
    add_key || return
  fi
  reach ssh "$NAME" --worker="$1" --command="$2"
}

# Where an ssh-agent runs that does not hold gcloud's key, gcloud refuses to
# talk to several machines at once.
add_key() {
  local key=$HOME/.ssh/google_compute_engine code=0
  # gcloud makes the key when it first needs it.
  [[ -f $key ]] || reach ssh "$NAME" --worker=0 --command=true || return
  ssh-add -l > /dev/null 2>&1 || code=$?
  # 0: an agent with keys, 1: one without; else there is none.
  if ((code < 2)); then
    ssh-add -q "$key"
  fi
}

create() {
  local options=()
  if [[ $SPOT == yes ]]; then
    options+=(--spot)
  fi
  if [[ $REACH != external ]]; then
    options+=(--internal-ips)
  fi
  if [[ $QUEUED == yes ]]; then
    queue_up ${options[@]+"${options[@]}"}
  else
    tpu create "$NAME" --accelerator-type="$ACCELERATOR" --version="$RUNTIME" \
      ${options[@]+"${options[@]}"}
  fi
}

# Returns once there is a slice, or once the request has failed.
queue_up() {
  local now before=
  if [[ $(place) == MISSING ]]; then
    queue create "$NAME" --node-id="$NAME" --accelerator-type="$ACCELERATOR" \
      --runtime-version="$RUNTIME" "$@" || return
  fi
  while true; do
    now=$(place)
    case $now in
      ACTIVE) return 0 ;;
      MISSING) return 1 ;;
      FAILED | SUSPENDED)
        echo "The request ended, $now: deleting it." >&2
        queue delete "$NAME" --force || true
        return 1
        ;;
    esac
    if [[ $now != "$before" ]]; then
      echo "In the queue: $now."
    fi
    before=$now
    sleep "$LOOK_EVERY"
  done
}

# WAITING_FOR_RESOURCES, PROVISIONING, ACTIVE, ...; MISSING without a request.
place() {
  queue describe "$NAME" --format='value(state.state)' 2> /dev/null ||
    echo MISSING
}

install() {
  local archive
  archive=$(mktemp -d)/perceiver.tar.gz
  git archive --format=tar.gz --output="$archive" HEAD || return
  add_key || return
  reach scp "$archive" "$NAME:perceiver.tar.gz" --worker=all || return
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
    python3 -m uv pip install --quiet --python=.venv/bin/python \
      --constraint=requirements.txt '.[tpu,buckets]'"
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
      env $VARIABLES .venv/bin/python -m experiments.train \
        --multihost=auto $ARGUMENTS &
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
  if [[ $QUEUED == yes ]]; then
    # With the slice.
    queue delete "$NAME" --force
  else
    tpu delete "$NAME"
  fi
}

# READY, PREEMPTED, ...; MISSING without a slice.
state() {
  tpu describe "$NAME" --format='value(state)' 2> /dev/null || echo MISSING
}

# Prints finished, running, failed, or mistaken: starting again does not help.
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
    elif [ \$(cat exit_code) = 2 ]; then
      echo mistaken
    else
      echo failed
    fi" || echo unreachable
}

keep() {
  local failures=0 found
  while true; do
    case $(state) in
      READY)
        found=$(progress)
        # What was found before this began may have been mended.
        [[ $found != mistaken || $failures != 0 ]] || found=failed
        case $found in
          finished)
            echo "The run has finished. Give the slice back: $0 delete"
            return 0
            ;;
          running) ;;
          unreachable) echo 'The slice does not answer.' ;;
          mistaken)
            echo "Starting it again would not help, see: $0 follow" >&2
            return 2
            ;;
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
  create | install | start | follow | stop | delete | keep)
    check
    "$1"
    ;;
  *)
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
