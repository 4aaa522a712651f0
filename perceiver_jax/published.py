"""The published models as plain values.

Each is a dict of sections; a section is the keyword arguments of one
constructor, with `name` where there is a choice: 'encoder' of
`encoder.Encoder`, 'decoder' of `decoder.Decoder`, 'inputs' of a preprocessor
for each modality, and so on. The configs of `experiments` take them as they
are; in Python, `Encoder(**published.IMAGENET['encoder'])` does.

Sources: arXiv 2103.03206 (Perceiver), arXiv 2107.14795 (Perceiver IO), and the
released code where they leave something open. What none of them states is
marked 'not stated'.
"""

from typing import Any

Model = dict[str, Any]


def _fourier(num_bands: int, *max_resolution: int, **more: Any) -> Model:
  return {
    'name': 'fourier',
    'num_bands': num_bands,
    'max_resolution': max_resolution,
    **more,
  }


def _io(**encoder: Any) -> Model:
  """An encoder that attends once, before blocks of the same layers."""
  blocks = encoder.pop('num_blocks', 1)
  return {'cross_attends': (1,) + (0,) * (blocks - 1), **encoder}


# Perceiver, section 4.1: 8 cross-attends, each followed by 6 layers, all
# parameters shared but those of the first cross-attend.
IMAGENET: Model = {
  'inputs': {'image': {'name': 'pixels', 'positions': _fourier(64, 224, 224)}},
  'encoder': {
    'num_latents': 512,
    'latent_channels': 1024,
    'cross_attends': (1,) * 8,
    'self_attends_per_block': 6,
    'cross_attend_heads': 1,
    'self_attend_heads': 8,
    'share_cross_attends': True,
    'share_latent_blocks': True,
  },
}
# Section 4.1 and appendix B: one cross-attend, as 8 were unstable.
IMAGENET_LEARNED: Model = {
  **IMAGENET,
  'inputs': {
    'image': {
      'name': 'pixels',
      'positions': {'name': 'learned', 'num_channels': 128, 'init_stddev': 1.0},
    }
  },
  'encoder': {**IMAGENET['encoder'], 'cross_attends': (1,) + (0,) * 7},
}
# Table 2: all pixels of all images in one fixed random order.
IMAGENET_PERMUTED: Model = {
  **IMAGENET,
  'inputs': {
    'image': {
      'name': 'permuted_pixels',
      'seed': 0,
      'positions': _fourier(64, 224, 224),
    }
  },
}

# Section 4.2: 2 cross-attends, 8 layers each, nothing shared. Latents (N x D)
# and bands of sound are not stated; 512 x 512 is Perceiver IO's.
_AUDIOSET_ENCODER: Model = {
  'num_latents': 512,
  'latent_channels': 512,
  'cross_attends': (1, 1),
  'self_attends_per_block': 8,
  'share_cross_attends': False,
  'share_latent_blocks': False,
}
# 32 frames of 224 x 224 in patches of 2 x 8 x 8: 12,544 inputs; 16 bands make
# the 487 channels of Perceiver IO's table 6, with 4 of the modality.
_VIDEO: Model = {
  'name': 'patches',
  'patch_shape': (2, 8, 8),
  'positions': _fourier(16, 16, 28, 28),
}
# 61,440 samples at 48 kHz: 480 inputs of 128 samples.
_RAW_AUDIO: Model = {
  'name': 'audio_patches',
  'samples_per_patch': 128,
  'positions': _fourier(64, 480),
}
# 4,800 inputs; how they divide is not stated: 60 frames of 80 mel bands.
_MEL_TUNED: Model = {
  'name': 'mel_spectrogram',
  'sample_rate': 48_000,
  'window_size': 2048,
  'hop_size': 1024,
  'num_mels': 80,
  'positions': _fourier(64, 60, 80),
}
# SpecAugment, not stated in numbers: its policy 'SS' (2 runs of 27 bands, 2 of
# a fifth of the frames), without its warping of time.
_TIME_MASKS: Model = {'time_masks': 2, 'max_masked_frames': 12}
_BAND_MASKS: Model = {'frequency_masks': 2, 'max_masked_bands': 27}
_MEL: Model = {**_MEL_TUNED, **_TIME_MASKS, **_BAND_MASKS}


def _audioset(**inputs: Model) -> Model:
  model = {'inputs': inputs, 'encoder': _AUDIOSET_ENCODER}
  if len(inputs) > 1:
    model['packing'] = {'min_padding': 4, 'drop_rates': {'video': 0.3}}
  return model


AUDIOSET_RAW_AUDIO = _audioset(audio=_RAW_AUDIO)
AUDIOSET_MEL = _audioset(audio=_MEL)
AUDIOSET_VIDEO = _audioset(video=_VIDEO)
AUDIOSET_RAW_AUDIO_VIDEO = _audioset(audio=_RAW_AUDIO, video=_VIDEO)
AUDIOSET_MEL_VIDEO = _audioset(audio=_MEL, video=_VIDEO)
# After the camera-ready: no SpecAugment, spectrograms dropped too (44.2 mAP).
AUDIOSET_MEL_VIDEO_TUNED: Model = {
  **_audioset(audio=_MEL_TUNED, video=_VIDEO),
  'packing': {'min_padding': 4, 'drop_rates': {'video': 0.3, 'audio': 0.1}},
}

# Section 4.3: bands up to 1120, ten times those of ImageNet.
MODELNET40: Model = {
  'inputs': {
    'points': {
      'name': 'points',
      'num_bands': 64,
      'max_resolution': (2240, 2240, 2240),
    }
  },
  'encoder': {**IMAGENET['encoder'], 'cross_attends': (1, 1)},
}

# Perceiver IO, section 4.4 and appendix A: 'config A'.
_IMAGENET_IO_ENCODER = _io(
  num_latents=512,
  latent_channels=1024,
  num_blocks=8,
  self_attends_per_block=6,
  self_attend_heads=8,
)
_CLASS_QUERY: Model = {'num_channels': 1024, 'init_stddev': 0.02}
IMAGENET_IO: Model = {
  'inputs': {'image': {'name': 'pixels', 'positions': _fourier(64, 224, 224)}},
  'encoder': _IMAGENET_IO_ENCODER,
  'queries': _CLASS_QUERY,
  'decoder': {'query_residual': True},
}
# Released with positions projected once more, and without query residual.
IMAGENET_IO_LEARNED: Model = {
  **IMAGENET_IO,
  'inputs': {
    'image': {
      'name': 'conv1x1',
      'num_channels': 256,
      'positions': {
        'name': 'projected_learned',
        'num_channels': 256,
        'projected_channels': 256,
        'init_stddev': 0.02,
      },
    }
  },
  'decoder': {'query_residual': False},
}
IMAGENET_IO_CONV: Model = {
  **IMAGENET_IO,
  'inputs': {
    'image': {
      'name': 'conv_stem',
      'num_channels': 64,
      'positions': _fourier(64, 56, 56),
    }
  },
}
# Appendix A.2, 'config B', for pre-training on JFT: layers of their own, 4
# times wider MLPs, RGB through a 1 x 1 convolution to 256 channels.
IMAGENET_IO_JFT: Model = {
  **IMAGENET_IO,
  'inputs': {
    'image': {
      'name': 'conv1x1',
      'num_channels': 256,
      'positions': _fourier(64, 224, 224),
    }
  },
  'encoder': _io(
    num_latents=512,
    latent_channels=1024,
    self_attends_per_block=16,
    self_attend_heads=8,
    self_attend_widening_factor=4,
  ),
}

# Perceiver IO, appendix C and tables 5, 6, 10.
AUDIOSET_IO: Model = {
  'inputs': {'audio': _RAW_AUDIO, 'video': _VIDEO},
  'packing': {'min_padding': 4, 'drop_rates': {'video': 0.3}},
  'encoder': _io(
    num_latents=512, latent_channels=512, self_attends_per_block=12
  ),
  'queries': _CLASS_QUERY,
  'decoder': {'query_residual': True},
}
AUDIOSET_IO_MEL: Model = {
  **AUDIOSET_IO,
  'inputs': {'audio': _MEL, 'video': _VIDEO},
  'encoder': {**AUDIOSET_IO['encoder'], 'latent_channels': 1024},
}

# Perceiver IO, section 4.1, table 1 and the released notebook.
LANGUAGE: Model = {
  'embedding': {'vocab_size': 262, 'num_channels': 768, 'max_length': 2048},
  'encoder': _io(
    num_latents=256,
    latent_channels=1280,
    self_attends_per_block=26,
    cross_attend_heads=8,
    cross_attend_qk_channels=256,
    cross_attend_v_channels=1280,
    self_attend_heads=8,
    self_attend_qk_channels=256,
    self_attend_v_channels=1280,
  ),
  'queries': {'num_queries': 2048, 'num_channels': 768},
  'decoder': {
    'num_heads': 8,
    'qk_channels': 256,
    'v_channels': 768,
    'query_residual': False,
  },
}
LANGUAGE_SENTENCEPIECE: Model = {
  **LANGUAGE,
  'embedding': {'vocab_size': 32_000, 'num_channels': 768, 'max_length': 512},
  'queries': {'num_queries': 512, 'num_channels': 768},
}
LANGUAGE_PLUS: Model = {
  **LANGUAGE,
  'encoder': {
    **LANGUAGE['encoder'],
    'latent_channels': 1536,
    'self_attends_per_block': 40,
    'cross_attend_v_channels': 1536,
    'self_attend_v_channels': 1536,
  },
}
# Table 2: all eight tasks at once, each with a query of its own.
GLUE_TASKS: dict[str, int] = {
  'cola': 2,
  'mnli': 3,
  'mrpc': 2,
  'qnli': 2,
  'qqp': 2,
  'rte': 2,
  'sst2': 2,
  'stsb': 1,
}
GLUE: Model = {
  **LANGUAGE,
  'queries': {'num_channels': 768},
}

# Perceiver IO, section 4.2, appendix H and the released notebook.
_FLOW_SIZE = (368, 496)
FLOW: Model = {
  'preprocessor': {
    'name': 'frame_patches',
    'patch_size': 3,
    'num_channels': 64,
    'concatenate_frames': True,
    'positions': _fourier(64, *_FLOW_SIZE),
  },
  'encoder': _io(
    num_latents=2048,
    latent_channels=512,
    self_attends_per_block=24,
    self_attend_heads=16,
  ),
  'decoder': {'query_residual': False, 'zero_init': True},
  'flow': {'flow_scale': 0.2, 'stride': 1},
}
# Table 16. Time, the first of three axes, has 64 bands too: 451 channels. With
# two frames its Nyquist frequency is that of the lowest band; the highest is
# not stated, and taken as for 128 frames so that the bands differ.
_FLOW_SEPARATE_POSITIONS = _fourier(64, 128, *_FLOW_SIZE)
FLOW_SEPARATE: Model = {
  **FLOW,
  'preprocessor': {
    **FLOW['preprocessor'],
    'concatenate_frames': False,
    'positions': _FLOW_SEPARATE_POSITIONS,
  },
}
FLOW_1X1: Model = {
  **FLOW,
  'preprocessor': {**FLOW['preprocessor'], 'patch_size': 1},
}
FLOW_1X1_SEPARATE: Model = {
  **FLOW,
  'preprocessor': {**FLOW_SEPARATE['preprocessor'], 'patch_size': 1},
}
FLOW_CONV: Model = {
  **FLOW,
  'preprocessor': {
    'name': 'frame_conv_stem',
    'num_channels': 64,
    'concatenate_frames': True,
    'positions': _fourier(64, 92, 124),
  },
  'decoder': {'query_residual': False},  # Its outputs go to the upsampling.
  'flow': {'flow_scale': 0.2, 'stride': 4},
}
FLOW_CONV_SEPARATE: Model = {
  **FLOW_CONV,
  'preprocessor': {
    **FLOW_CONV['preprocessor'],
    'concatenate_frames': False,
    'positions': _fourier(64, 128, 92, 124),
  },
}
FLOW_CONV_LIGHT: Model = {  # Table 16.
  **FLOW_CONV,
  'encoder': {
    **FLOW['encoder'],
    'num_latents': 1024,
    'self_attends_per_block': 16,
  },
}

# Perceiver IO, section 4.3, appendix I and the released notebook, whose bands
# (32 of video, 192 of sound) differ from the appendix.
_KINETICS_VIDEO = (32, 16, 56, 56)
_KINETICS_AUDIO = (192, 30_720)
KINETICS: Model = {
  'inputs': {
    'audio': {
      'name': 'audio_patches',
      'samples_per_patch': 16,
      'positions': _fourier(*_KINETICS_AUDIO),
    },
    'image': {
      'name': 'patches',
      'patch_shape': (1, 4, 4),
      'positions': _fourier(*_KINETICS_VIDEO),
    },
    'label': {'name': 'one_hot', 'num_classes': 700},
  },
  'packing': {
    'min_padding': 4,
    'mask_rates': {'audio': 0.0, 'image': 0.0, 'label': 0.5},
    'masked_in_evaluation': ('label',),
  },
  'encoder': _io(
    num_latents=784,
    latent_channels=512,
    self_attends_per_block=8,
  ),
  # Output points lie at -1 + 2 i / n, as in the released notebook.
  'queries': {
    'audio': {
      'name': 'grid',
      'grid_shape': (1920,),
      'positions': _fourier(*_KINETICS_AUDIO, include_end=False),
    },
    'image': {
      'name': 'grid',
      'grid_shape': (16, 224, 224),
      'positions': _fourier(*_KINETICS_VIDEO, include_end=False),
    },
    'label': {'name': 'learned', 'num_queries': 1, 'num_channels': 1024},
  },
  'decoder': {'output_channels': 512, 'query_residual': False},
  'postprocessors': {
    'audio': {'name': 'audio_samples', 'samples_per_patch': 16},
    'image': {'name': 'pixel_values', 'num_channels': 3},
    'label': {'name': 'class_logits', 'num_classes': 700},
  },
  'decoding': {'query_min_padding': 2, 'num_chunks': 128},
}

# Perceiver IO, section 4.5 and appendix B: 512 entities of 256 channels in,
# 512 of 128 out, 32 latents, 3 layers; the width of latents is not stated.
STARCRAFT: Model = {
  'entities': {'num_channels': 128},
  'encoder': _io(
    num_latents=32,
    latent_channels=512,
    self_attends_per_block=3,
  ),
  'decoder': {'output_channels': 128, 'query_residual': True},
}
