"""The words of docs/scaling.md; `make_scaling` puts the tables in."""

HEAD = """# How time and memory grow

Made by `python -m docs.make_scaling`. **Computed, not measured**, unless it
says otherwise: this code has not run on a TPU or on several GPUs. The counts
are exact for the step as it is traced; the times are what these counts would
take at 40 % of a chip's best rate, which is to be shown.

To ask about another config, batch or number of devices, on any machine:

```sh
python -m experiments.describe --config=experiments/configs/flow.py --devices=16
python -m experiments.benchmark --suite=scaling
```

## Formulas

The papers' letters: M inputs of C channels, N latents of D channels, L latent
layers in all, K cross-attends, O outputs, B examples in a batch; P parameters,
G devices. Operations of one example's forward pass, a multiplication and an
addition being two, MLPs as wide as what they read. With several heads, or narrow projections as in
the language models, keys and values are projected as in the papers.

| part | as in the papers | as run with one head |
|---|---|---|
| cross-attend, K times | 4 M C^2 + 4 N M C + 4 N D C + 4 N D^2 | without the 4 M C^2 |
| latent layer, L times | 12 N D^2 + 4 N^2 D | the same |
| decoder, width D | 4 N D^2 + 4 O N D + O x (projections and MLP) | the same |

ImageNet, M = 50,176, C = 261, N = 512, D = 1,024, K = 8, L = 48: 8 x 43.2 + 48
x 7.5 = 706 billion. A gradient takes two forward passes more, and what
`encoder.rematerialize` computes again: 'elementwise' little, 'layers' about one
more pass through the latent layers.

- **Inputs** M: time grows in proportion to K M. Memory hardly does: scores are
  never stored, and the inputs are kept once whatever K is. Where outputs are as
  many as inputs (flow), what the decoder keeps grows with them.
- **Latents** N: in proportion, and with N^2 D in the latent layers; as much as
  12 N D^2 when N = 3 D.
- **Depth** L: time and activations in proportion, whether layers share
  parameters or not. Shared layers take less state, not less time.
- **Outputs** O: in proportion. Where a config asks for some outputs only
  (`output_points`), O is their number.
- **Batch** B: time and activations in proportion; the state not at all.
  `config.microbatches` = k divides the activations by k and leaves the time.
- **Devices** G: each has B / G examples. With `parallelism.name='pmap'` each
  holds the whole train state, 12 P bytes with LAMB or AdamW (16 P with
  `ema_decay`), and gets about 8 P bytes of gradients from the others in a step.
  With 'sharded' it holds 12 P / G, and gets about 12 P: parameters for the
  forward and the backward pass, gradients once. Gradients take another 4 P or
  4 P / G for a moment.

## The formulas against measurements

**Measured** on 2 CPU cores, float32, gradient of an encoder with one
cross-attend, as docs/performance.md has it (`--suite=scaling`; 16,384 inputs of
261 channels, 512 x 1,024 latents, 1 layer, 1 example unless varied). Seconds of
a CPU say nothing of an accelerator; ratios of one run are compared:

| from | to | operations grow | time grew |
|---|---|---:|---:|
| 65,536 inputs | 1,048,576 | 12.6 | 8.6 |
| 128 latents | 1,024 | 8.8 | 6.7 |
| 1 layer | 8 | 3.8 | 4.1 |
| 1 example | 8 | 8.0 | 8.8 |

Temporaries were 48 to 53 MB from 4,096 to 1,048,576 inputs. Small sizes cost
time besides their operations, so with inputs and latents the time grows less
than these; with layers and examples a little more. How it falls with devices
has not been measured: simulated devices share the cores.
"""  # noqa: E501

NOTES = """
## Train state on each device, GiB

Parameters, both moments, step; all of it with `pmap`, on any number of devices.

| config | pmap, or 1 device | sharded, 8 | sharded, 16 | sharded, 32 |
|---|---:|---:|---:|---:|
{state}

## One example

Operations of a step, forward and gradient, in trillions, and MiB that are kept
for the gradient, with `compute_dtype='bfloat16'`. The peak of a step differs: a
compiler keeps less or needs room besides (`experiments.describe --help`).

| config | `rematerialize` | operations | MiB kept |
|---|---|---:|---:|
{example}

## A step on 1 to 32 devices

The published batch, `rematerialize='elementwise'` as in the configs, no
microbatches: GiB of activations on each device, seconds of a step at 40 % of
275 (v4) and 989 (H100) trillion bfloat16 operations a second.

| config | devices | examples each | activations, GiB | v4, s | H100, s |
|---|---:|---:|---:|---:|---:|
{step}

## Worked examples

What fits into 70 % of a device's memory with a sharded state, and takes the
fewest operations; of these the fewest microbatches. GiB are of state and
activations on a device. Days are of the published number of steps, without
evaluation, data or waiting for other devices.

**TPU v4-32**: 16 chips of 32 GiB, 275 trillion bfloat16 operations a second
each (4 hosts; jax sees 16 devices).

| config | examples each | `rematerialize` | `microbatches` | GiB | seconds a step | days |
|---|---:|---|---:|---:|---:|---:|
{tpu}

```sh
# On all hosts of the slice, see docs/launching.md.
python -m experiments.train --config=experiments/configs/imagenet.py \\
  --config.compute_dtype=bfloat16 --config.parallelism.name=sharded \\
  {choice} \\
  --multihost=auto
```

**8 x H100 SXM**: 80 GB, 989 trillion dense bfloat16 operations a second each.

| config | examples each | `rematerialize` | `microbatches` | GiB | seconds a step | days |
|---|---:|---|---:|---:|---:|---:|
{gpu}

What can make these wrong: the share of peak (single-head cross-attends of 261
channels fill a matrix unit badly; layer norms and softmax wait for memory), the
input pipeline (docs/performance.md has images a second of a core: 4 hosts must
make B images in the seconds of a step), and what the compiler keeps. Measure
before you buy: 20 steps say it, `train/seconds_per_step` and
`train/memory_peak` in the metrics.
"""  # noqa: E501
