"""Stand-ins for what only a cluster has, for the tests of the launchers."""

import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'experiments' / 'launch'
TOOLS = (
  *('bash', 'cat', 'dirname', 'env', 'git', 'grep', 'gzip', 'mkdir', 'mktemp'),
  *('nohup', 'rm', 'sed', 'sleep', 'tail', 'tar', 'tee', 'chmod', 'seq', 'ln'),
  *('mv', 'basename', 'realpath', 'cksum'),
)
# Stands for `gcloud compute tpus`: writes its arguments down, keeps the states
# of the slice and of its request in files, runs commands here, in another home.
GCLOUD = r"""#!/usr/bin/env bash
printf '%s\0' "$@" >> "$STAND_IN/vectors"
printf '\0' >> "$STAND_IN/vectors"
echo "$*" >> "$RECORD"
[ "$1" = alpha ] && shift
command=
for argument in "$@"; do
  case $argument in --command=*) command=${argument#--command=} ;; esac
done
case $3/$4 in
  tpu-vm/create)
    [ -f "$STAND_IN/none" ] && exit 1
    mkdir -p "$STAND_IN/machine"
    echo READY > "$STAND_IN/state"
    ;;
  tpu-vm/describe) cat "$STAND_IN/state" ;;
  tpu-vm/delete) rm -r "$STAND_IN/state" "$STAND_IN/machine" ;;
  tpu-vm/scp) cat "$5" > "$STAND_IN/machine/perceiver.tar.gz" ;;
  tpu-vm/ssh) HOME=$STAND_IN/machine bash -c "cd && $command" ;;
  queued-resources/create) echo ACCEPTED > "$STAND_IN/place" ;;
  queued-resources/describe)
    # Each look moves the request on, as far as a test lets it.
    cat "$STAND_IN/place" || exit 1
    [ -f "$STAND_IN/next" ] && mv "$STAND_IN/next" "$STAND_IN/place"
    [ "$(cat "$STAND_IN/place")" = ACTIVE ] || exit 0
    mkdir -p "$STAND_IN/machine"
    echo READY > "$STAND_IN/state"
    ;;
  queued-resources/delete)
    rm -rf "$STAND_IN/place" "$STAND_IN/state" "$STAND_IN/machine"
    ;;
esac
"""
# Makes the environment's Python, which only says what a run says at its end.
PYTHON3 = r"""#!/usr/bin/env bash
case "$*" in
  *'uv venv'*)
    mkdir -p .venv/bin
    ln -s "$STAND_IN/bin/train" .venv/bin/python
    ;;
esac
"""
TRAIN = r"""#!/usr/bin/env bash
echo "arguments: $*"
if [ -f "$STAND_IN/fails" ]; then
  echo 'Error: it fails'
  exit "$(cat "$STAND_IN/fails")"
fi
if [ -f "$STAND_IN/waits" ]; then
  trap 'echo "SIGTERM: saving"; exit 0' TERM
  echo waiting
  for i in $(seq 600); do sleep 0.1; done
fi
echo 'Final evaluation: eval/accuracy 0.5'
"""
# Prints its arguments, one a line.
ARGUMENTS = '#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n'


def make_cloud(folder: pathlib.Path) -> dict[str, str]:
  """Fills a folder with the stand-ins and a checkout to launch from.

  Returns:
    The environment in which only they, and plain tools, are found.
  """
  programs = {
    'gcloud': GCLOUD,
    'python3': PYTHON3,
    'train': TRAIN,
    'python': TRAIN,
    'srun': ARGUMENTS,
    'sbatch': ARGUMENTS,
    'gcsfuse': '#!/usr/bin/env bash\necho "gcsfuse $*" >> "$RECORD"\n',
    'mountpoint': '#!/usr/bin/env bash\nexit 1\n',
  }
  (folder / 'bin').mkdir()
  for name, text in programs.items():
    (folder / 'bin' / name).write_text(text)
    (folder / 'bin' / name).chmod(0o755)
  for name in TOOLS:
    (folder / 'bin' / name).symlink_to(shutil.which(name))
  _make_checkout(folder / 'checkout')
  return {
    'PATH': str(folder / 'bin'),
    'HOME': str(folder),
    'STAND_IN': str(folder),
    'RECORD': str(folder / 'record'),
    'PROJECT': 'project-of-test',
    'NAME': 'slice',
    'BUCKET': 'bucket-of-test',
    'LOOK_EVERY': '0.2',
    'FAILURES': '2',
  }


def tpu_vm(
  cloud: tuple[pathlib.Path, dict[str, str]], *arguments: str, **changes: str
) -> subprocess.CompletedProcess:
  """Runs tpu_vm.sh to its end."""
  return subprocess.run(
    ['bash', str(FOLDER / 'tpu_vm.sh'), *arguments],
    cwd=cloud[0] / 'checkout',
    env=cloud[1] | changes,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


def _make_checkout(folder: pathlib.Path) -> None:
  folder.mkdir()
  (folder / 'setup.py').touch()
  author = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
  for command in (['init'], ['add', '.'], [*author, 'commit', '-m', 'a']):
    subprocess.run(
      ['git', *command], cwd=folder, check=True, capture_output=True
    )
