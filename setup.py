"""Packaging of perceiver-haiku (import name: perceiver_jax)."""

import pathlib

import setuptools

_TFDS_COMMAND = [  # What `tfds build imagenet2012` needs besides TFDS itself.
  'tensorflow>=2.19',
  'apache-beam>=2.60',
  'mlcroissant>=1.0',
]
_BEAM = ['apache-beam>=2.65,<3']
_SERVE = [
  'h11>=0.14,<1',  # uvicorn's own; its connections are ours.
  'python-multipart>=0.0.20,<1',
  'starlette>=1.0,<2',
  'uvicorn>=0.34,<1',
]
_BUCKETS = [  # Opens gs:// and s3://.
  'gcsfs>=2025.2',
  's3fs>=2025.2',
]
_CLASSICAL = ['scikit-learn>=1.6,<2']
_DEV = [
  *_BEAM,
  *_BUCKETS,
  *_SERVE,
  'flask-cors>=5,<7',  # The server of moto needs it.
  'gcp-storage-emulator>=2024.8',
  'httpx>=0.28,<1',
  'ipykernel>=6.29,<8',
  'moto[s3]>=5.1,<6',
  'nbclient>=0.10,<1',
  'prometheus-client>=0.20,<1',
  'pytest>=8.3,<10',
  'pytest-xdist>=3.6,<4',
  'ruff>=0.15,<0.18',
  *_CLASSICAL,
  'selenium>=4.30,<5',
  'setuptools>=77',  # `make` installs us with it; Python 3.12 brings none.
]

setuptools.setup(
  name='perceiver-haiku',
  version='0.1.0',
  description='Perceiver and Perceiver IO in JAX and Haiku',
  long_description=pathlib.Path('README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  packages=setuptools.find_namespace_packages(
    include=['perceiver_jax*', 'experiments*']
  ),
  package_data={
    'experiments.attention': ['*.html', '*.css', '*.js'],
    'experiments.datasets': ['embedded/*'],
    'experiments.launch': ['*.sh', '*.sbatch', '*.yaml'],
    'experiments.serving': ['*.html', '*.css', '*.js'],
    'experiments.modalities': ['*/*.js'],
    'experiments.pages': ['*.css', '*.js'],
    'perceiver_jax': ['py.typed'],
  },
  python_requires='>=3.11',
  install_requires=[
    'absl-py>=2.1,<3',
    'array_record>=0.8,<0.9',
    'av>=14,<19',  # Decodes sound and video.
    'chex>=0.1.90,<0.2',
    'dm-haiku>=0.0.16,<0.1',
    'einops>=0.8,<0.9',
    'etils[epath]>=1.12,<2',  # Paths of buckets, with fsspec.
    'flatbuffers>=24.3.25,<26',  # jax.export writes its files with it.
    'grain>=0.2.14,<0.3',
    'importlib_resources>=6',  # TFDS builders on Python 3.11.
    'jax>=0.8.1,<0.13',
    'matplotlib>=3.9,<4',  # Draws curves and attention maps.
    'ml_collections>=1.0,<2',
    'numpy>=2.0,<3',
    'opencv-python-headless>=4.10,<6',
    'optax>=0.2.8,<0.3',
    'orbax-checkpoint>=0.11.33,<0.13',
    'pillow>=11,<14',
    'pyarrow>=17',  # Reads tables; TFDS needs it too.
    'safetensors>=0.5,<0.9',
    'scipy>=1.13,<2',  # Mixes the pixels of resized images.
    'tensorboardX>=2.6.2,<3',
    'tensorflow-datasets>=4.9.9,<5',
    'tqdm>=4.66,<5',
    'trimesh>=4.5,<6',  # Reads 3-D models.
  ],
  extras_require={
    'cuda': ['jax[cuda13]'],
    'tpu': ['jax[tpu]'],
    # Compilers for `experiments.preflight`, in the version that the installed
    # jax asks for; of CUDA only XLA's part, without NVIDIA's libraries.
    'preflight-tpu': ['jax[tpu]'],
    'preflight-gpu': ['jax[cuda13-local]'],
    'prepare': _TFDS_COMMAND,
    'beam': _BEAM,
    'buckets': _BUCKETS,
    'serve': _SERVE,
    'classical': _CLASSICAL,  # `--baseline`: a cheap model on the same split.
    'docs': [
      'mkdocs-material>=9.5,<10',
      'mkdocstrings[python]>=0.27,<2',
      'ruff>=0.15,<0.18',
    ],
    'wandb': ['wandb>=0.19,<1'],
    'dev': _DEV,
  },
  classifiers=[
    'License :: OSI Approved :: Apache Software License',
    'Programming Language :: Python :: 3',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
)
