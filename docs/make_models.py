"""Prints docs/models.md: `python docs/make_models.py > docs/models.md`."""

import importlib
from typing import NamedTuple

from experiments.describe import describe

HEAD = """# Models

Every published model, as it is built here, beside what the papers print; last,
the small models of the embedded data.
Made by `make docs`; nothing is computed for it but shapes.

Parameters are counted exactly. Operations are multiplications and additions of
one example's forward pass, in billions: matrix products and convolutions with
keys and values projected, as in the papers; the papers' own numbers include
some element-wise operations (0.1 - 0.2 %). 'As run' is what the form of
attention takes that is chosen here.

| config | inputs | latents | outputs | parameters | published | operations | published | as run |
|---|---|---|---|---:|---:|---:|---:|---:|"""  # noqa: E501

NOTES = """
Where a published number does not follow from the published description:

1. Perceiver IO prints 407 billion for learned positions too; inputs of 512
   channels make it 478 (the projection of the positions included, which the
   released model has and the text does not).
2. 'Config B' (16 layers, MLPs 4 times as wide, 512 x 1024 latents): the layers
   alone take 223 billion. Without the head of 1,000 classes it has 212.1M
   parameters.
3. 113 billion is what 24 layers take; 26 layers make the 201M parameters that
   stand beside it, and the 425M model with 40 layers agrees in both.
4. No division of 119 billion was found; 25 of ours are the products with the
   32,000 embeddings.
5. Printed are 27.9M and 987 billion, which is 16 layers and 1,024 latents with
   inputs for all pixels. 24 layers and 2,048 latents, as the text says and as
   the released model is built, have 41.06M (the released code: 41,057,134).
6. The released code builds 19,858,855 parameters too. Table 5's counts are of
   480 patches of sound, text and code have 1,920. Of the published operations,
   310 are with the outputs of a training step and 6,850 with all.
7. Printed are 21.0M for a Perceiver without decoder, 25.0M and 88.2M with: 512
   x 1024 latents, 12 layers, 487 channels and a query of 1,024 make 86.6M.
8. The first paper gives neither latents nor parameters for AudioSet; 512 x 512
   is Perceiver IO's.
9. The width of the latents is not published; neither are the entity encoder's
   own parameters (table 9 is of whole agents).
10. Perceiver IO quotes 4.1 billion multiply-adds for ResNet-50, two operations
    each, and for ViT-B/16 the multiply-adds of images of 384 x 384.
"""


class Row(NamedTuple):
  """A line of the table; '' where nothing is published."""

  name: str
  variant: str | None = None
  parameters: str = ''
  operations: str = ''
  note: str = ''


ROWS = (
  Row('imagenet', 'fourier', '44.9M', '707.2'),
  Row('imagenet', 'learned'),
  Row('imagenet', 'permuted', '44.9M', '707.2'),
  Row('audioset', 'raw_audio_video', note='8'),
  Row('audioset', 'mel_video', note='8'),
  Row('audioset', 'mel_video_tuned', note='8'),
  Row('audioset', 'raw_audio', note='8'),
  Row('audioset', 'mel', note='8'),
  Row('audioset', 'video', note='8'),
  Row('modelnet40'),
  Row('imagenet_baselines', 'resnet50_rgb', '26M', '4.1', '10'),
  Row('imagenet_baselines', 'resnet50_ff'),
  Row('imagenet_baselines', 'vit_b16_rgb', '86M', '55.4', '10'),
  Row('imagenet_baselines', 'vit_b16_ff'),
  Row('imagenet_baselines', 'transformer64'),
  Row('modelnet40_baselines', 'transformer'),
  Row('modelnet40_baselines', 'resnet50'),
  Row('modelnet40_baselines', 'vit_b2'),
  Row('modelnet40_baselines', 'vit_b4'),
  Row('modelnet40_baselines', 'vit_b8'),
  Row('modelnet40_baselines', 'vit_b16'),
  Row('imagenet_io', 'fourier', '48.4M', '407'),
  Row('imagenet_io', 'learned', '62.3M', '407', '1'),
  Row('imagenet_io', 'conv', '48.6M', '369'),
  Row('imagenet_io', 'jft', '212M', '213', '2'),
  Row('audioset', 'io_raw_audio_video', '25.0M', '52.9', '7'),
  Row('audioset', 'io_mel_video', '88.2M', '129.5', '7'),
  Row('language', 'bytes', '201M', '113', '3'),
  Row('language', 'sentencepiece', '223M', '119', '4'),
  Row('language', 'plus', '425M', '241'),
  Row('glue'),
  Row('flow', 'patches', '27.9M', '987', '5'),
  Row('flow', 'patches_separate'),
  Row('flow', 'pixels'),
  Row('flow', 'pixels_separate'),
  Row('flow', 'conv'),
  Row('flow', 'conv_separate'),
  Row('flow', 'conv_light'),
  Row('kinetics', '784', '20.0M', '6,850 / 310', '6'),
  Row('kinetics', '392'),
  Row('kinetics', '196'),
  Row('starcraft', note='9'),
  Row('digits'),
  Row('digits', 'perceiver_learned'),
  Row('digits', 'resnet'),
  Row('digits', 'vit'),
  Row('digits', 'transformer'),
  Row('digits', 'ablation'),
  Row('tones', 'raw'),
  Row('tones', 'mel'),
  Row('furniture'),
  Row('watch'),
  Row('bunny'),
  Row('flow', 'embedded'),
  Row('declaration', 'language'),
  Row('declaration', 'mlm'),
)


def main() -> None:
  """Prints the page."""
  print(HEAD)
  for row in ROWS:
    module = importlib.import_module(f'experiments.configs.{row.name}')
    config = module.get_config(*([row.variant] if row.variant else []))
    config.batch_size = 1
    print(format_row(row, describe(config, num_devices=1)))
  print(NOTES, end='')


def format_row(row: Row, description: dict) -> str:
  """Returns a line of the table."""
  operations = description['operations']
  counted = f'{operations["as_in_the_papers"] / 1e9:,.1f}'
  some = operations.get('as_in_the_papers_with_points')
  if some is not None:
    counted += f' / {some / 1e9:,.1f}'
  name = f'{row.name}:{row.variant}' if row.variant else row.name
  note = f' <sup>{row.note}</sup>' if row.note else ''
  cells = (
    f'{name}{note}',
    *(
      _shape(description.get(key, ()))  # Baselines have no latents.
      for key in ('inputs', 'latents', 'outputs')
    ),
    f'{description["parameters"]["total"]:,}',
    row.parameters,
    counted,
    row.operations,
    f'{operations["as_run"] / 1e9:,.1f}',
  )
  return f'| {" | ".join(cells)} |'


def _shape(sizes: list[int]) -> str:
  return ' x '.join(f'{size:,}' for size in sizes)


if __name__ == '__main__':
  main()
