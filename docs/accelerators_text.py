"""The words of docs/accelerators.md; `make_accelerators` puts the tables in."""

HEAD = """# Accelerators

For someone with a new TPU VM or a host of GPUs: what fits, what it will take, and
what to type. **Every number on this page is estimated by the compilers of these
devices, on a machine without any; nothing was measured on one.** They know the
memory that a program needs, and for TPUs the cycles of its instructions, not how
long a device waits. Measure before you buy: 20 steps say it.

## Ask before you start

```sh
pip install 'perceiver-haiku[preflight-tpu]'   # or [preflight-gpu]
python -m experiments.preflight --config=experiments/configs/imagenet.py \\
  --topology=v4-32
```

compiles the update and the evaluation of a config, as they would be on the
devices, on any machine, and prints whether they fit, how long a step is estimated
to take and where the time goes. It takes minutes (on TPUs layers are compiled one
by one), with `--memory` a tenth of that; what was compiled before is kept in
`~/.cache/perceiver_jax/preflight` (`--compilation_cache` names another folder),
and a second call takes seconds. ImageNet for a v4-32 takes four minutes on two
cores, and 19 GiB of memory.

**`JAX_OPTIMIZATION_LEVEL=O1`** in the environment, jax's own setting, makes the
compilers do less, for `preflight` as for `train`: Perceiver IO on ImageNet
compiles in a third of the time, and a step takes 0.73 instead of 0.48 s. It is for
trying things out; what it was is said on the page of `preflight`.

| you have | `--topology` |
|---|---|
| a Cloud TPU slice | its name: `v3-8`, `v4-32`, `v5e-16` (or `v5litepod-16`), `v5p-8`, `v6e-8` |
| another grid of chips | `v4:2x2x4`, `v5e:4x4`, `v6e:2x4`, `v3:2x2` |
| several slices | `2*v4-32`, or `--topology=v4-32 --slices=2` |
| a host of GPUs, or several | `h100:8`, `h200:8`, `h100:8x2` (GPUs of a host x hosts) |

What the page says:

- **It fits**, or what is needed: the peak of a device's memory as the compiler
  has planned it. For TPUs a program that does not fit is refused there as it
  would be on the device. For GPUs the limit is the 75 % of the memory that jax
  takes (`XLA_PYTHON_CLIENT_MEM_FRACTION`).
- **Seconds a step**: the cycles that the compiler's scheduler takes each
  instruction to need, loops multiplied by their turns, over the clock. Kernels
  have no such number: theirs follow from the operations and bytes that they
  state, and the share of the best rate that their schedules reach on that
  generation ([Performance](performance.md)). Collectives are counted as if nothing were computed meanwhile. Compilers
  for GPUs estimate no times: there are lower bounds.
- **The dearest parts**, by the names of modules, and how much of each is
  products, kernels, element by element, and moving data.
- **Collectives** by bytes.

`--fit` looks for the rematerialisation, microbatches, dtype and sharding that fit
and are fastest, and ends with the command that trains so. `--memory` stops when
the memory is known, which takes a tenth of the time and is about the least that
the program can do with (short of memory, the compiler computes things again: of
three whole compilations of published models it was right to 0.3, 0.2 and 4 %);
`--json` prints one object.

The compiler has to be of the version that the installed jax asks for; the command
says what to install where it is not. An environment of its own is best: with
`libtpu` or the CUDA plugin installed, every other command that runs on a CPU
prints their complaints unless `JAX_PLATFORMS=cpu` is set.

## What fits, and what it takes

The published configs at their published batch, as they are (`pmap`, bfloat16,
`rematerialize='elementwise'`), with the fewest microbatches that fit. Type, with
the config and the microbatches of the table,

```sh
python -m experiments.train --config=experiments/configs/imagenet.py \\
  --config.microbatches=4 --data_dir=DATA --workdir=runs/imagenet
```

on a host of its own (v4-8, v6e-8), and the same with
`--multihost=auto` on every host of a larger slice ([Launching](launching.md)).
Days are of the published number of steps, without evaluations, data and waiting.
"""  # noqa: E501

NOTES = """
A topology or a config that is not listed was not compiled: ask `preflight`. Where
the seconds say "more than", only the memory was asked for, or nobody knows them
(GPUs): the number is the papers' operations at the best rate, which no run
reaches. The last column is what two busy CPU cores took. GPUs were compiled for
without cuDNN's attention, whose library was not there; kinetics has two
microbatches there because the compiler of jax 0.10.2 fails with one
("Reshape input and output shapes must be the same").

`compute_dtype` is bfloat16 in these configs: products, and what is kept for the
gradient; parameters, norms, softmax, positions, losses and sums over devices are
in float32. In float32 the same batch takes about twice the memory. Imported
weights run in float32, as their authors' code does.

`python -m docs.make_accelerators --compile` made these rows.

## One state a device, or one state for all

`pmap`, the default, keeps the whole train state on each device: 12 bytes a
parameter, 0.5 GiB for ImageNet. `--config.parallelism.name=sharded` divides it;
parameters are gathered once a step, gradients summed so that each device keeps
its part, both in one pass over the links. It is for models that are too large for
`pmap`; `--config.parallelism.layer_by_layer=True`, with
`rematerialize='elementwise'` or `'layers'`, is for those whose parameters are too
large to be whole anywhere. In all three an activation is divided by the batch and
by nothing else. On several slices, a state is divided within a slice, and only
sums of a device's part of the gradient go between slices
(`--topology='2*v4-32'` shows both).

## What is chosen by the device

| | TPU | GPU | CPU |
|---|---|---|---|
| single-head cross-attend | a Pallas kernel, forward and backward (`perceiver_jax/kernels/`) | chunks of up to 4,096 inputs | chunks that stay in the caches |
| latent self-attention | a Pallas kernel, or XLA's own form: by its shape | cuDNN's, where it takes the heads; else recomputed weights | recomputed weights |
| latent layers | one after the other, see [Performance](performance.md) | a scan | a scan |

The parameters are the same everywhere, and so are checkpoints: a run may go on
elsewhere. The numbers differ by rounding.
"""  # noqa: E501
