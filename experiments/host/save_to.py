"""The flag --save_to, which several commands have."""

from absl import flags

SAVE_TO = flags.DEFINE_string(
  'save_to',
  None,
  'Where to write to. Default: a place of its own, of a run in --workdir.',
)
