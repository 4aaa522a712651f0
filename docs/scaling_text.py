"""The words of docs/scaling.md; `make_scaling` puts the tables in."""

HEAD = """# How time and memory grow

Made by `python -m docs.make_scaling`. **Computed, not measured**, unless it
says otherwise. The counts are exact for the step as it is traced.

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
  With 'sharded' it holds 12 P / G, and gets as much: parameters once, gradients
  once. While a step is computed, parameters and gradients are whole on each
  device, another 8 P in both cases; with `parallelism.layer_by_layer` neither
  are, and parameters are sent as often as layers use them.

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

## What fits, and how long a step takes

What a compiler keeps, and what its schedule takes, cannot be counted from
shapes: `python -m experiments.preflight --config=... --topology=v4-32` asks the
compiler of the devices, on any machine. [Accelerators](accelerators.md) has what
it says of the published configs.

The input pipeline must keep up (docs/performance.md has images a second of a
core: 4 hosts must make B images in the seconds of a step). Measure before you
buy: 20 steps say it, `train/seconds_per_step` and `train/memory_peak` in the
metrics.
"""  # noqa: E501
