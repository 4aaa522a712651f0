"""Who may import whom, read from the source: data flows one way."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ('perceiver_jax', 'experiments')
MAX_LINES = 400

# What each module may import of ours. A module comes after all that it may
# import, so an upward import needs a row moved, and a reason.
MAY_IMPORT = {
  # The library.
  'perceiver_jax.portability': [],
  'perceiver_jax.published': [],
  'perceiver_jax.huggingface': ['perceiver_jax.published'],
  'perceiver_jax.layers': ['perceiver_jax.portability'],
  'perceiver_jax.metrics': [],
  'perceiver_jax.tokenizer': [],
  'perceiver_jax.tiling': [],
  'perceiver_jax.patches': [],
  'perceiver_jax.spectrogram': [],
  'perceiver_jax.unpickle': [],
  'perceiver_jax.position_encoding': ['perceiver_jax.layers'],
  'perceiver_jax.resample': ['perceiver_jax.position_encoding'],
  'perceiver_jax.byte_array': ['perceiver_jax.position_encoding'],
  'perceiver_jax.convolutions': ['perceiver_jax.layers'],
  'perceiver_jax.input_chunks': [
    'perceiver_jax.byte_array',
    'perceiver_jax.portability',
    'perceiver_jax.position_encoding',
  ],
  'perceiver_jax.kernels': [],
  'perceiver_jax.kernels.tiles': [],
  'perceiver_jax.kernels.target': ['perceiver_jax.portability'],
  'perceiver_jax.kernels.input_columns': [
    'perceiver_jax.byte_array',
    'perceiver_jax.position_encoding',
  ],
  'perceiver_jax.kernels.absorbed_forward': [
    'perceiver_jax.kernels.input_columns',
    'perceiver_jax.kernels.tiles',
  ],
  'perceiver_jax.kernels.absorbed_gradients': [
    'perceiver_jax.kernels.absorbed_forward',
    'perceiver_jax.kernels.input_columns',
    'perceiver_jax.kernels.tiles',
  ],
  'perceiver_jax.kernels.absorbed_attention': [
    'perceiver_jax.kernels.absorbed_forward',
    'perceiver_jax.kernels.absorbed_gradients',
    'perceiver_jax.kernels.input_columns',
    'perceiver_jax.kernels.target',
    'perceiver_jax.position_encoding',
  ],
  'perceiver_jax.absorbed_attention': [
    'perceiver_jax.byte_array',
    'perceiver_jax.input_chunks',
    'perceiver_jax.kernels.absorbed_attention',
    'perceiver_jax.layers',
    'perceiver_jax.position_encoding',
  ],
  'perceiver_jax.kernels.latent_attention': [
    'perceiver_jax.kernels.target',
    'perceiver_jax.kernels.tiles',
  ],
  'perceiver_jax.recomputed_attention': [
    'perceiver_jax.layers',
    'perceiver_jax.portability',
  ],
  'perceiver_jax.cudnn_attention': ['perceiver_jax.portability'],
  'perceiver_jax.attention': [
    'perceiver_jax.absorbed_attention',
    'perceiver_jax.cudnn_attention',
    'perceiver_jax.input_chunks',
    'perceiver_jax.kernels.latent_attention',
    'perceiver_jax.layers',
    'perceiver_jax.recomputed_attention',
  ],
  'perceiver_jax.transformer': [
    'perceiver_jax.absorbed_attention',
    'perceiver_jax.attention',
    'perceiver_jax.byte_array',
    'perceiver_jax.layers',
  ],
  'perceiver_jax.encoder': [
    'perceiver_jax.byte_array',
    'perceiver_jax.layers',
    'perceiver_jax.portability',
    'perceiver_jax.transformer',
  ],
  'perceiver_jax.decoder': [
    'perceiver_jax.byte_array',
    'perceiver_jax.layers',
    'perceiver_jax.transformer',
  ],
  'perceiver_jax.token_embedding': [
    'perceiver_jax.byte_array',
    'perceiver_jax.position_encoding',
  ],
  'perceiver_jax.queries': ['perceiver_jax.position_encoding'],
  'perceiver_jax.preprocessors': [
    'perceiver_jax.byte_array',
    'perceiver_jax.convolutions',
    'perceiver_jax.layers',
    'perceiver_jax.patches',
    'perceiver_jax.position_encoding',
    'perceiver_jax.spectrogram',
  ],
  'perceiver_jax.frame_preprocessors': [
    'perceiver_jax.byte_array',
    'perceiver_jax.layers',
    'perceiver_jax.patches',
    'perceiver_jax.position_encoding',
    'perceiver_jax.preprocessors',
  ],
  'perceiver_jax.layouts': [
    'perceiver_jax.byte_array',
    'perceiver_jax.frame_preprocessors',
    'perceiver_jax.preprocessors',
  ],
  'perceiver_jax.multimodal': [
    'perceiver_jax.byte_array',
    'perceiver_jax.preprocessors',
  ],
  'perceiver_jax.attention_weights': [
    'perceiver_jax.absorbed_attention',
    'perceiver_jax.attention',
    'perceiver_jax.byte_array',
    'perceiver_jax.encoder',
    'perceiver_jax.layers',
    'perceiver_jax.layouts',
    'perceiver_jax.multimodal',
  ],
  'perceiver_jax.postprocessors': [
    'perceiver_jax.convolutions',
    'perceiver_jax.layers',
  ],
  'perceiver_jax.pretrained_names': [],
  'perceiver_jax.pretrained': ['perceiver_jax.pretrained_names'],
  'perceiver_jax.models.autoencoder': [
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.multimodal',
    'perceiver_jax.queries',
  ],
  'perceiver_jax.models.classifier': [
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.preprocessors',
  ],
  'perceiver_jax.models.entities': [
    'perceiver_jax.byte_array',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.layers',
  ],
  'perceiver_jax.models.io_classifier': [
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.preprocessors',
    'perceiver_jax.queries',
  ],
  'perceiver_jax.models.language': [
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.postprocessors',
    'perceiver_jax.queries',
    'perceiver_jax.token_embedding',
  ],
  'perceiver_jax.models.optical_flow': [
    'perceiver_jax.convolutions',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.preprocessors',
  ],
  'perceiver_jax.models': [
    'perceiver_jax.models.autoencoder',
    'perceiver_jax.models.classifier',
    'perceiver_jax.models.entities',
    'perceiver_jax.models.io_classifier',
    'perceiver_jax.models.language',
    'perceiver_jax.models.optical_flow',
  ],
  # The interface: nothing of the library imports it.
  'perceiver_jax': [
    'perceiver_jax.attention_weights',
    'perceiver_jax.byte_array',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.huggingface',
    'perceiver_jax.models',
    'perceiver_jax.multimodal',
    'perceiver_jax.position_encoding',
    'perceiver_jax.preprocessors',
    'perceiver_jax.pretrained',
    'perceiver_jax.queries',
    'perceiver_jax.token_embedding',
    'perceiver_jax.tokenizer',
  ],
  # The runner: parts that know nothing of each other.
  'experiments': [],
  'experiments.error_text': [],
  'experiments.buckets': ['experiments.error_text'],
  'experiments.addresses': ['experiments.buckets'],
  'experiments.lock_files': ['experiments.buckets'],
  'experiments.viewing.axes': [],
  'experiments.serving': [],
  'experiments.serving.sizes': [],
  'experiments.serving.guard': [],
  'experiments.handing_on': [],
  'experiments.handing_on.markdown': [],
  'experiments.handing_on.data_notes': [],
  'experiments.handing_on.weights': ['perceiver_jax.pretrained'],
  'experiments.unpickling': ['perceiver_jax.unpickle'],
  'experiments.handing_on.sources': ['experiments.unpickling'],
  'experiments.handing_on.load': [],
  'experiments.handing_on.window': [],
  'experiments.viewing.attention_colours': [],
  'experiments.reporting': [],
  'experiments.viewing.encodings': [],
  'experiments.reporting.history': [],
  'experiments.watching.starts': [
    'experiments.buckets',
  ],
  'experiments.viewing.charts': [
    'experiments.viewing.axes',
  ],
  'experiments.viewing.tables': [
    'experiments.viewing.axes',
  ],
  'experiments.viewing.page': [
    'experiments.viewing.tables',
  ],
  'experiments.reporting.curves': [
    'experiments.reporting.history',
    'experiments.viewing.charts',
    'experiments.viewing.tables',
  ],
  'experiments.data.files.text': [],
  'experiments.data.files.tables': [],
  'experiments.data.files.series': ['experiments.data.files.tables'],
  'experiments.data.files.windows': [],
  'experiments.__main__': [],
  'experiments.data.files.images': [],
  'experiments.data.files': [],
  'experiments.data.views': [],
  'experiments.viewing.elements': [
    'experiments.data.views',
    'experiments.viewing.encodings',
  ],
  'experiments.viewing.attention_maps': [
    'experiments.data.views',
  ],
  'experiments.viewing.attention_figure': [
    'experiments.data.views',
    'experiments.viewing.attention_colours',
    'experiments.viewing.attention_maps',
  ],
  'experiments.tasks.answers': [
    'experiments.data.views',
  ],
  'experiments.checkpointing': [],
  'experiments.watching': [],
  'experiments.measuring': [],
  'experiments.sweeps': [],
  'experiments.viewing': [],
  'experiments.configuration': [],
  'experiments.parameter_paths': ['experiments.configuration'],
  'experiments.reporting.background': [
    'experiments.configuration',
    'experiments.viewing.tables',
  ],
  'experiments.agreement': [],
  'experiments.meeting': [],
  'experiments.peers': ['experiments.meeting'],
  'experiments.processes': [
    'experiments.agreement',
    'experiments.error_text',
    'experiments.meeting',
    'experiments.peers',
  ],
  'experiments.shared_folders': [
    'experiments.agreement',
    'experiments.processes',
  ],
  'experiments.command_line': [
    'experiments.addresses',
    'experiments.configuration',
    'experiments.error_text',
    'experiments.processes',
  ],
  'experiments.output': [],
  'experiments.viewing.flow_colours': [],
  'experiments.viewing.answer_panels': [
    'experiments.data.views',
    'experiments.tasks.answers',
    'experiments.viewing.axes',
    'experiments.viewing.elements',
    'experiments.viewing.flow_colours',
    'experiments.viewing.tables',
  ],
  'experiments.interruption': [],
  'experiments.run_lock': [
    'experiments.buckets',
    'experiments.lock_files',
  ],
  'experiments.launch': [],
  'experiments.launch.attached': [],
  'experiments.launch.local': [],
  'experiments.measuring.operations': [],
  'experiments.measuring.memory': [],
  'experiments.watching.compiled_step': ['experiments.measuring.operations'],
  'experiments.measuring.scaling': [
    'perceiver_jax.encoder',
    'perceiver_jax.position_encoding',
    'perceiver_jax.preprocessors',
  ],
  'experiments.optimizers': ['perceiver_jax.encoder'],
  'experiments.stepping.spikes': [],
  'experiments.early_stop': [],
  'experiments.schedules': [],
  'experiments.train_state': [
    'experiments.stepping.spikes',
    'perceiver_jax.metrics',
  ],
  'experiments.steps': [
    'experiments.stepping.spikes',
    'experiments.train_state',
    'perceiver_jax.metrics',
  ],
  'experiments.stepping': [],
  'experiments.stepping.devices': ['perceiver_jax.portability'],
  'experiments.stepping.replicated': [
    'experiments.stepping.devices',
    'experiments.steps',
  ],
  'experiments.stepping.sharded': [
    'experiments.stepping.devices',
    'experiments.steps',
    'perceiver_jax.encoder',
    'perceiver_jax.portability',
  ],
  'experiments.parallelism': [
    'experiments.stepping.replicated',
    'experiments.stepping.sharded',
    'experiments.steps',
  ],
  'experiments.watching.statistics': [
    'experiments.parallelism',
    'experiments.steps',
    'experiments.train_state',
    'perceiver_jax.encoder',
    'perceiver_jax.metrics',
  ],
  'experiments.health': [
    'experiments.parallelism',
    'experiments.steps',
    'experiments.train_state',
  ],
  'experiments.precision': [
    'perceiver_jax.byte_array',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
  ],
  'experiments.watching.progress': [],
  'experiments.watching.profiling': [
    'experiments.buckets',
    'experiments.watching.progress',
  ],
  'experiments.watching.weights_and_biases': [
    'experiments.buckets',
    'experiments.watching.progress',
  ],
  'experiments.watching.writers': [
    'experiments.buckets',
    'experiments.watching.progress',
  ],
  'experiments.compiling': [],
  'experiments.cache_folder': [],
  'experiments.compiling.compilation': [],
  'experiments.compilation_cache': [
    'experiments.addresses',
    'experiments.agreement',
    'experiments.cache_folder',
    'experiments.processes',
    'experiments.shared_folders',
    'experiments.watching.progress',
  ],
  'experiments.checkpointing.orbax_noise': [],
  'experiments.checkpointing.files': [
    'experiments.buckets',
    'experiments.early_stop',
    'experiments.error_text',
    'experiments.stepping.spikes',
    'experiments.train_state',
  ],
  'experiments.checkpointing.local_copies': [
    'experiments.buckets',
    'experiments.checkpointing.files',
  ],
  'experiments.checkpointing.manager': [
    'experiments.buckets',
    'experiments.checkpointing.files',
    'experiments.checkpointing.local_copies',
    'experiments.checkpointing.orbax_noise',
    'experiments.processes',
  ],
  'experiments.checkpointing.save_failures': [
    'experiments.agreement',
    'experiments.buckets',
    'experiments.checkpointing.files',
    'experiments.processes',
    'experiments.watching.progress',
  ],
  'experiments.checkpointing.checkpoints': [
    'experiments.agreement',
    'experiments.buckets',
    'experiments.checkpointing.files',
    'experiments.checkpointing.local_copies',
    'experiments.checkpointing.manager',
    'experiments.checkpointing.save_failures',
    'experiments.early_stop',
    'experiments.processes',
    'experiments.train_state',
    'experiments.watching.progress',
  ],
  'experiments.baselines': [],
  'experiments.baselines.huggingface': [],
  'experiments.baselines.byte_arrays': ['perceiver_jax.byte_array'],
  'experiments.baselines.resnet': [
    'experiments.baselines.byte_arrays',
    'perceiver_jax.byte_array',
  ],
  'experiments.baselines.transformer': [
    'experiments.baselines.byte_arrays',
    'perceiver_jax.byte_array',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.layers',
  ],
  'experiments.baselines.vit': [
    'experiments.baselines.byte_arrays',
    'perceiver_jax.byte_array',
    'perceiver_jax.encoder',
    'perceiver_jax.layers',
    'perceiver_jax.patches',
  ],
  # Its data.
  'experiments.data': [],
  'experiments.data.augmentation': [],
  'experiments.data.flow': [],
  'experiments.data.folders': [],
  'experiments.data.stalls': [],
  'experiments.data.faults': [
    'experiments.data.stalls',
    'experiments.watching.progress',
  ],
  'experiments.data.readings': [
    'experiments.data.faults',
    'experiments.error_text',
  ],
  'experiments.data.dataset': [
    'experiments.data.readings',
    'experiments.data.views',
    'experiments.error_text',
  ],
  'experiments.serving.uploads': [
    'experiments.data.dataset',
    'experiments.serving.sizes',
  ],
  'experiments.data.flow.frames': [
    'experiments.data.dataset',
    'experiments.data.files.images',
    'experiments.data.views',
  ],
  'experiments.data.pipeline': [
    'experiments.data.dataset',
    'experiments.data.faults',
    'experiments.data.readings',
  ],
  'experiments.data.one_at_a_time': [],
  'experiments.data.features': [],
  'experiments.data.manual_downloads': [],
  'experiments.data.embedded_builder': [
    'experiments.data.dataset',
  ],
  'experiments.data.augmentation.images': [],
  'experiments.data.augmentation.randaugment': [],
  'experiments.data.augmentation.mixing': [
    'experiments.data.dataset',
  ],
  'experiments.data.digits': [
    'experiments.data.augmentation.images',
    'experiments.data.dataset',
    'experiments.data.embedded_builder',
    'experiments.data.features',
    'experiments.data.files.images',
    'experiments.data.views',
  ],
  'experiments.data.prepared': [
    'experiments.data.dataset',
  ],
  'experiments.data.imagenet': [
    'experiments.data.augmentation.images',
    'experiments.data.augmentation.mixing',
    'experiments.data.augmentation.randaugment',
    'experiments.data.dataset',
    'experiments.data.files.images',
    'experiments.data.prepared',
    'experiments.data.views',
  ],
  'experiments.data.augmentation.points': [
    'experiments.data.dataset',
  ],
  'experiments.data.files.meshes': [],
  'experiments.data.files.ply': ['experiments.data.files.meshes'],
  'experiments.data.files.points': [
    'experiments.data.files.meshes',
    'experiments.data.files.ply',
    'experiments.data.files.tables',
  ],
  'experiments.data.furniture': [
    'experiments.data.augmentation.points',
    'experiments.data.dataset',
    'experiments.data.embedded_builder',
    'experiments.data.features',
    'experiments.data.files.points',
    'experiments.data.views',
  ],
  'experiments.data.files.containers': [],
  'experiments.data.files.media': ['experiments.data.files.containers'],
  'experiments.data.files.films': [
    'experiments.data.files.media',
  ],
  'experiments.data.modelnet40': [
    'experiments.data.augmentation.points',
    'experiments.data.dataset',
    'experiments.data.features',
    'experiments.data.files.meshes',
    'experiments.data.files.points',
    'experiments.data.manual_downloads',
    'experiments.data.views',
  ],
  'experiments.data.augmentation.motion': [],
  'experiments.data.watch': [
    'experiments.data.augmentation.motion',
    'experiments.data.dataset',
    'experiments.data.embedded_builder',
    'experiments.data.features',
    'experiments.data.files.series',
    'experiments.data.files.windows',
    'experiments.data.views',
  ],
  'experiments.data.sound': [],
  'experiments.data.tones': [
    'experiments.data.dataset',
    'experiments.data.embedded_builder',
    'experiments.data.features',
    'experiments.data.files.media',
    'experiments.data.sound',
    'experiments.data.views',
  ],
  'experiments.data.text': [
    'experiments.data.dataset',
    'perceiver_jax.tokenizer',
  ],
  'experiments.data.typed_text': [
    'experiments.data.dataset',
    'experiments.data.files.text',
    'experiments.data.files.windows',
    'experiments.data.text',
    'experiments.data.views',
    'perceiver_jax.tokenizer',
  ],
  'experiments.data.masked_text': [
    'experiments.data.dataset',
    'experiments.data.prepared',
    'experiments.data.text',
    'experiments.data.typed_text',
  ],
  'experiments.data.glue': [
    'experiments.data.dataset',
    'experiments.data.prepared',
    'experiments.data.text',
    'experiments.data.typed_text',
  ],
  'experiments.data.declaration': [
    'experiments.data.dataset',
    'experiments.data.embedded_builder',
    'experiments.data.text',
    'experiments.data.typed_text',
  ],
  'experiments.data.flow.augmentation': [
    'experiments.data.augmentation.images'
  ],
  'experiments.data.flow.files': [],
  'experiments.data.flow.warping': [],
  'experiments.data.flow.frame_pairs': [
    'experiments.data.augmentation.images',
    'experiments.data.dataset',
    'experiments.data.flow.augmentation',
    'experiments.data.flow.files',
    'experiments.data.flow.frames',
    'experiments.data.manual_downloads',
  ],
  'experiments.data.flow.kitti': ['experiments.data.flow.frame_pairs'],
  'experiments.data.flow.sintel': ['experiments.data.flow.frame_pairs'],
  'experiments.data.flow.autoflow': [
    'experiments.data.dataset',
    'experiments.data.flow.augmentation',
    'experiments.data.flow.frame_pairs',
    'experiments.data.flow.frames',
    'experiments.data.flow.kitti',
    'experiments.data.flow.sintel',
  ],
  'experiments.data.flow.photographs': [
    'experiments.data.augmentation.images',
    'experiments.data.dataset',
    'experiments.data.embedded_builder',
    'experiments.data.features',
    'experiments.data.flow.augmentation',
    'experiments.data.flow.frame_pairs',
    'experiments.data.flow.frames',
    'experiments.data.flow.warping',
  ],
  'experiments.data.flow.motorcycle': [
    'experiments.data.embedded_builder',
    'experiments.data.flow.augmentation',
  ],
  'experiments.data.output_points': [],
  'experiments.data.augmentation.video': [
    'experiments.data.augmentation.images'
  ],
  'experiments.data.bunny': [
    'experiments.data.augmentation.video',
    'experiments.data.dataset',
    'experiments.data.embedded_builder',
    'experiments.data.features',
    'experiments.data.files.films',
    'experiments.data.files.media',
    'experiments.data.sound',
    'experiments.data.views',
  ],
  'experiments.data.audioset_files': [
    'experiments.data.augmentation.video',
    'experiments.data.dataset',
    'experiments.data.files.media',
    'experiments.data.files.windows',
    'experiments.data.views',
  ],
  'experiments.data.stored_video': [
    'experiments.data.augmentation.images',
    'experiments.data.dataset',
    'experiments.data.features',
    'experiments.data.files.films',
    'experiments.data.sound',
  ],
  'experiments.data.sharded_builder': [
    'experiments.data.dataset',
    'experiments.data.stored_video',
  ],
  'experiments.data.kinetics': [
    'experiments.data.augmentation.video',
    'experiments.data.dataset',
    'experiments.data.files.films',
    'experiments.data.files.media',
    'experiments.data.manual_downloads',
    'experiments.data.output_points',
    'experiments.data.sharded_builder',
    'experiments.data.stored_video',
    'experiments.data.views',
  ],
  'experiments.data.audioset_lists': [],
  'experiments.data.audioset': [
    'experiments.data.audioset_files',
    'experiments.data.audioset_lists',
    'experiments.data.augmentation.video',
    'experiments.data.dataset',
    'experiments.data.files.media',
    'experiments.data.manual_downloads',
    'experiments.data.sharded_builder',
    'experiments.data.sound',
    'experiments.data.stored_video',
  ],
  'experiments.data.fetched': [
    'experiments.buckets',
    'experiments.cache_folder',
  ],
  'experiments.data.folders.listing': [
    'experiments.addresses',
    'experiments.buckets',
    'experiments.data.fetched',
  ],
  'experiments.data.folders.builder': [
    'experiments.data.dataset',
    'experiments.data.folders.listing',
    'experiments.data.views',
  ],
  'experiments.data.folders.images': [
    'experiments.data.augmentation.images',
    'experiments.data.dataset',
    'experiments.data.features',
    'experiments.data.files.images',
    'experiments.data.folders.builder',
    'experiments.data.folders.listing',
    'experiments.data.views',
  ],
  'experiments.data.folders.points': [
    'experiments.data.augmentation.points',
    'experiments.data.dataset',
    'experiments.data.features',
    'experiments.data.files.points',
    'experiments.data.folders.builder',
    'experiments.data.folders.listing',
    'experiments.data.views',
  ],
  'experiments.data.augmentation.series': [],
  'experiments.data.folders.series': [
    'experiments.data.augmentation.series',
    'experiments.data.dataset',
    'experiments.data.features',
    'experiments.data.files.series',
    'experiments.data.files.windows',
    'experiments.data.folders.builder',
    'experiments.data.folders.listing',
    'experiments.data.views',
  ],
  'experiments.data.folders.sounds': [
    'experiments.data.dataset',
    'experiments.data.features',
    'experiments.data.files.media',
    'experiments.data.files.windows',
    'experiments.data.folders.builder',
    'experiments.data.folders.listing',
    'experiments.data.sound',
    'experiments.data.views',
  ],
  'experiments.data.folders.texts': [
    'experiments.data.dataset',
    'experiments.data.files.text',
    'experiments.data.folders.listing',
    'experiments.data.text',
    'experiments.data.typed_text',
  ],
  'experiments.data.folders.videos': [
    'experiments.data.augmentation.images',
    'experiments.data.augmentation.video',
    'experiments.data.dataset',
    'experiments.data.features',
    'experiments.data.files.media',
    'experiments.data.files.windows',
    'experiments.data.folders.builder',
    'experiments.data.folders.listing',
    'experiments.data.views',
  ],
  'experiments.data.shapes': [
    'experiments.data.dataset',
  ],
  'experiments.data.imported': [
    'experiments.data.dataset',
    'experiments.data.files.images',
    'experiments.data.files.text',
    'experiments.data.imagenet',
    'experiments.data.shapes',
    'experiments.data.text',
    'experiments.data.typed_text',
    'perceiver_jax.tokenizer',
  ],
  # Configs are values.
  'experiments.configs': [],
  'experiments.configs.audioset': ['perceiver_jax.published'],
  'experiments.configs.bunny': [],
  'experiments.configs.declaration': [],
  'experiments.configs.digits': [],
  'experiments.configs.flow': ['perceiver_jax.published'],
  'experiments.configs.folder': [],
  'experiments.configs.furniture': [],
  'experiments.configs.glue': ['perceiver_jax.published'],
  'experiments.configs.imagenet': ['perceiver_jax.published'],
  'experiments.configs.imagenet_baselines': [],
  'experiments.configs.imagenet_io': ['perceiver_jax.published'],
  'experiments.configs.kinetics': ['perceiver_jax.published'],
  'experiments.configs.language': ['perceiver_jax.published'],
  'experiments.configs.modelnet40': ['perceiver_jax.published'],
  'experiments.configs.modelnet40_baselines': [],
  'experiments.configs.starcraft': ['perceiver_jax.published'],
  'experiments.configs.tones': [],
  'experiments.configs.watch': [],
  'experiments.handing_on.imported_configs': [
    'experiments.configs.flow',
    'experiments.configs.imagenet_io',
    'experiments.configs.kinetics',
    'experiments.configs.language',
    'perceiver_jax.huggingface',
    'perceiver_jax.tokenizer',
  ],
  # Tasks bind model, loss and data.
  'experiments.tasks.task': [
    'experiments.data.dataset',
    'experiments.tasks.answers',
    'experiments.train_state',
  ],
  'experiments.learning_rates': [
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.parameter_paths',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.encoder',
  ],
  'experiments.measuring.forward_pass': [
    'experiments.data.dataset',
    'experiments.measuring.operations',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.attention',
  ],
  'experiments.handing_on.exporting': [
    'experiments.data.dataset',
    'experiments.handing_on.load',
    'experiments.handing_on.weights',
    'experiments.handing_on.window',
    'experiments.tasks.task',
    'perceiver_jax.portability',
    'perceiver_jax.pretrained',
  ],
  'experiments.tasks.open_values': [
    'experiments.configuration',
    'experiments.data.folders.images',
    'experiments.data.folders.points',
    'experiments.data.folders.series',
    'experiments.data.folders.sounds',
    'experiments.data.folders.texts',
    'experiments.data.folders.videos',
  ],
  'experiments.tasks.parts': [
    'experiments.configuration',
    'perceiver_jax.frame_preprocessors',
    'perceiver_jax.multimodal',
    'perceiver_jax.position_encoding',
    'perceiver_jax.postprocessors',
    'perceiver_jax.preprocessors',
    'perceiver_jax.queries',
    'perceiver_jax.token_embedding',
  ],
  'experiments.tasks.baselines': [
    'experiments.baselines.resnet',
    'experiments.baselines.transformer',
    'experiments.baselines.vit',
    'experiments.configuration',
  ],
  'experiments.tasks.classification_metrics': [
    'experiments.tasks.task',
    'experiments.train_state',
  ],
  'experiments.tasks.classification': [
    'experiments.configuration',
    'experiments.data.audioset',
    'experiments.data.dataset',
    'experiments.data.digits',
    'experiments.data.furniture',
    'experiments.data.imagenet',
    'experiments.data.imported',
    'experiments.data.modelnet40',
    'experiments.data.tones',
    'experiments.data.watch',
    'experiments.tasks.answers',
    'experiments.tasks.baselines',
    'experiments.tasks.classification_metrics',
    'experiments.tasks.open_values',
    'experiments.tasks.parts',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.metrics',
    'perceiver_jax.models',
    'perceiver_jax.queries',
  ],
  'experiments.tasks.film_answers': [
    'experiments.data.dataset',
    'experiments.data.views',
    'experiments.tasks.answers',
    'experiments.tasks.classification',
  ],
  'experiments.tasks.autoencoding': [
    'experiments.configuration',
    'experiments.data.bunny',
    'experiments.data.dataset',
    'experiments.data.imported',
    'experiments.data.kinetics',
    'experiments.tasks.film_answers',
    'experiments.tasks.parts',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.metrics',
    'perceiver_jax.models',
    'perceiver_jax.patches',
  ],
  'experiments.tasks.entity_encoding': [
    'experiments.configuration',
    'experiments.data.shapes',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.models',
  ],
  'experiments.tasks.language': [
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.data.declaration',
    'experiments.data.masked_text',
    'experiments.data.shapes',
    'experiments.tasks.answers',
    'experiments.tasks.open_values',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.metrics',
    'perceiver_jax.models',
    'perceiver_jax.queries',
    'perceiver_jax.token_embedding',
    'perceiver_jax.tokenizer',
  ],
  'experiments.tasks.glue_scores': ['experiments.data.glue'],
  'experiments.tasks.glue': [
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.data.glue',
    'experiments.tasks.answers',
    'experiments.tasks.glue_scores',
    'experiments.tasks.language',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.metrics',
    'perceiver_jax.models',
    'perceiver_jax.published',
    'perceiver_jax.queries',
    'perceiver_jax.tokenizer',
  ],
  'experiments.tasks.optical_flow': [
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.data.flow.autoflow',
    'experiments.data.flow.frames',
    'experiments.data.flow.photographs',
    'experiments.tasks.answers',
    'experiments.tasks.parts',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.convolutions',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
    'perceiver_jax.metrics',
    'perceiver_jax.models',
    'perceiver_jax.tiling',
  ],
  'experiments.tasks': [
    'experiments.configuration',
    'experiments.tasks.autoencoding',
    'experiments.tasks.classification',
    'experiments.tasks.entity_encoding',
    'experiments.tasks.glue',
    'experiments.tasks.language',
    'experiments.tasks.open_values',
    'experiments.tasks.optical_flow',
    'experiments.tasks.task',
  ],
  # Commands, from a config.
  'experiments.finetuning': [
    'experiments.addresses',
    'experiments.configuration',
    'experiments.parameter_paths',
    'experiments.tasks.task',
  ],
  'experiments.experiment': [
    'experiments.checkpointing.checkpoints',
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.data.one_at_a_time',
    'experiments.early_stop',
    'experiments.finetuning',
    'experiments.learning_rates',
    'experiments.optimizers',
    'experiments.parallelism',
    'experiments.precision',
    'experiments.processes',
    'experiments.schedules',
    'experiments.stepping.spikes',
    'experiments.steps',
    'experiments.tasks',
    'experiments.tasks.task',
    'experiments.train_state',
  ],
  'experiments.evaluation': [
    'experiments.data.dataset',
    'experiments.data.faults',
    'experiments.data.pipeline',
    'experiments.experiment',
    'experiments.steps',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.metrics',
  ],
  'experiments.trained': [
    'experiments.addresses',
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.experiment',
    'experiments.tasks.answers',
    'experiments.tasks.task',
    'experiments.train_state',
  ],
  'experiments.serving.batching': [
    'experiments.data.dataset',
    'experiments.trained',
  ],
  'experiments.handing_on.run_notes': [
    'experiments.handing_on.markdown',
    'experiments.reporting.history',
    'experiments.trained',
  ],
  'experiments.handing_on.model_card': [
    'experiments.handing_on.data_notes',
    'experiments.handing_on.markdown',
    'experiments.handing_on.run_notes',
    'experiments.handing_on.window',
    'experiments.trained',
  ],
  'experiments.handing_on.renewal': [
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.experiment',
    'experiments.handing_on.exporting',
    'experiments.handing_on.model_card',
    'experiments.handing_on.weights',
    'experiments.train_state',
  ],
  'experiments.reporting.held_out': [
    'experiments.data.dataset',
    'experiments.error_text',
    'experiments.tasks.answers',
    'experiments.train_state',
    'experiments.trained',
    'perceiver_jax.metrics',
  ],
  'experiments.reporting.examples': [
    'experiments.data.dataset',
    'experiments.data.views',
    'experiments.reporting.held_out',
    'experiments.tasks.answers',
    'experiments.tasks.task',
    'experiments.trained',
    'experiments.viewing.answer_panels',
    'experiments.viewing.elements',
    'experiments.viewing.tables',
  ],
  'experiments.reporting.scores': [
    'experiments.reporting.held_out',
    'experiments.tasks.classification_metrics',
  ],
  'experiments.reporting.run_page': [
    'experiments.buckets',
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.reporting.background',
    'experiments.reporting.curves',
    'experiments.reporting.examples',
    'experiments.reporting.held_out',
    'experiments.reporting.history',
    'experiments.reporting.scores',
    'experiments.trained',
    'experiments.viewing.axes',
    'experiments.viewing.page',
    'experiments.viewing.tables',
    'experiments.watching.starts',
  ],
  'experiments.reporting.comparison': [
    'experiments.reporting.background',
    'experiments.reporting.curves',
    'experiments.reporting.history',
    'experiments.reporting.run_page',
    'experiments.viewing.page',
    'experiments.viewing.tables',
  ],
  'experiments.attention': [
    'experiments.data.dataset',
    'experiments.data.views',
    'experiments.trained',
    'experiments.viewing.attention_maps',
    'perceiver_jax.attention_weights',
    'perceiver_jax.tokenizer',
  ],
  'experiments.reporting.attention': [
    'experiments.attention',
    'experiments.data.dataset',
    'experiments.reporting.held_out',
    'experiments.trained',
    'experiments.viewing.attention_figure',
    'experiments.viewing.attention_maps',
    'experiments.viewing.encodings',
    'experiments.viewing.tables',
  ],
  'experiments.reporting.writing': [
    'experiments.buckets',
    'experiments.data.dataset',
    'experiments.data.one_at_a_time',
    'experiments.error_text',
    'experiments.experiment',
    'experiments.processes',
    'experiments.reporting.attention',
    'experiments.reporting.held_out',
    'experiments.reporting.run_page',
    'experiments.trained',
    'experiments.viewing.tables',
  ],
  'experiments.chosen_run': [
    'experiments.addresses',
    'experiments.buckets',
    'experiments.command_line',
    'experiments.trained',
  ],
  'experiments.export': [
    'experiments.addresses',
    'experiments.buckets',
    'experiments.chosen_run',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.configuration',
    'experiments.handing_on.exporting',
    'experiments.handing_on.model_card',
    'experiments.handing_on.renewal',
    'experiments.handing_on.weights',
    'experiments.output',
    'experiments.parallelism',
    'experiments.trained',
  ],
  'experiments.report': [
    'experiments.addresses',
    'experiments.chosen_run',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.data.dataset',
    'experiments.output',
    'experiments.parallelism',
    'experiments.reporting.comparison',
    'experiments.reporting.run_page',
    'experiments.reporting.writing',
    'experiments.trained',
  ],
  'experiments.transfer': [
    'experiments.addresses',
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.experiment',
    'experiments.finetuning',
    'experiments.parameter_paths',
    'experiments.processes',
    'experiments.tasks',
    'experiments.tasks.task',
    'experiments.train_state',
    'perceiver_jax.position_encoding',
    'perceiver_jax.resample',
  ],
  'experiments.watching.summary': [
    'experiments.configuration',
    'experiments.experiment',
    'experiments.parallelism',
  ],
  'experiments.evaluate': [
    'experiments.chosen_run',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.configuration',
    'experiments.data.faults',
    'experiments.evaluation',
    'experiments.experiment',
    'experiments.parallelism',
    'experiments.processes',
  ],
  'experiments.viewing.pictures': [],
  'experiments.viewing.flow_drawing': [
    'experiments.viewing.flow_colours',
    'experiments.viewing.pictures',
  ],
  'experiments.viewing.film_drawing': [
    'experiments.data.views',
    'experiments.viewing.pictures',
  ],
  'experiments.viewing.answers': [
    'experiments.data.files.films',
    'experiments.data.flow.files',
    'experiments.data.views',
    'experiments.tasks.answers',
    'experiments.viewing.film_drawing',
    'experiments.viewing.flow_drawing',
    'experiments.viewing.pictures',
  ],
  'experiments.predict': [
    'experiments.buckets',
    'experiments.chosen_run',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.output',
    'experiments.parallelism',
    'experiments.tasks.answers',
    'experiments.trained',
    'experiments.viewing.answers',
  ],
  'experiments.viewing.attention_inputs': [
    'experiments.data.views',
    'experiments.viewing.attention_maps',
    'experiments.viewing.encodings',
  ],
  'experiments.viewing.attention_page': [
    'experiments.viewing.attention_colours',
    'experiments.viewing.attention_inputs',
    'experiments.viewing.attention_maps',
  ],
  'experiments.serving.replies': [
    'experiments.attention',
    'experiments.data.dataset',
    'experiments.serving.sizes',
    'experiments.serving.uploads',
    'experiments.tasks.answers',
    'experiments.trained',
    'experiments.viewing.answer_panels',
    'experiments.viewing.answers',
    'experiments.viewing.attention_page',
    'experiments.viewing.elements',
  ],
  'experiments.serving.app': [
    'experiments.serving.batching',
    'experiments.serving.guard',
    'experiments.serving.replies',
    'experiments.serving.sizes',
    'experiments.serving.uploads',
    'experiments.trained',
  ],
  'experiments.serve': [
    'experiments.chosen_run',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.parallelism',
    'experiments.serving.app',
  ],
  'experiments.attention_maps': [
    'experiments.attention',
    'experiments.chosen_run',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.data.dataset',
    'experiments.output',
    'experiments.parallelism',
    'experiments.tasks.answers',
    'experiments.trained',
    'experiments.viewing.attention_figure',
    'experiments.viewing.attention_maps',
    'experiments.viewing.attention_page',
    'experiments.viewing.pictures',
  ],
  'experiments.reconstructions': [
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.data.dataset',
    'experiments.evaluation',
    'experiments.experiment',
    'experiments.parallelism',
    'experiments.viewing.film_drawing',
    'experiments.viewing.pictures',
  ],
  'experiments.describe': [
    'experiments.baselines.resnet',
    'experiments.baselines.transformer',
    'experiments.baselines.vit',
    'experiments.command_line',
    'experiments.data.dataset',
    'experiments.experiment',
    'experiments.measuring.memory',
    'experiments.measuring.operations',
    'experiments.output',
    'experiments.tasks.task',
    'experiments.train_state',
    'experiments.watching.summary',
    'perceiver_jax.attention',
    'perceiver_jax.decoder',
    'perceiver_jax.encoder',
  ],
  'experiments.measuring.input_rate': [
    'experiments.data.pipeline',
    'experiments.tasks',
  ],
  # Programs for devices that are not here.
  'experiments.compiling.hardware': [],
  'experiments.watching.speed': [
    'experiments.compiling.hardware',
    'experiments.measuring.forward_pass',
    'experiments.tasks.task',
  ],
  'experiments.watching.meter': [
    'experiments.measuring.memory',
    'experiments.watching.speed',
    'perceiver_jax.metrics',
  ],
  'experiments.compiling.hlo': [],
  'experiments.compiling.stages': [],
  'experiments.compiling.topologies': ['experiments.compiling.hardware'],
  'experiments.compiling.compilers': [
    'experiments.compiling.hardware',
    'experiments.compiling.topologies',
  ],
  'experiments.compiling.costs': ['experiments.compiling.hlo'],
  'experiments.compiling.fitting': ['perceiver_jax.encoder'],
  'experiments.compiling.ahead': [
    'experiments.compiling.compilation',
    'experiments.compiling.compilers',
    'experiments.compiling.stages',
    'experiments.compiling.topologies',
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.experiment',
    'experiments.parallelism',
    'experiments.steps',
    'experiments.train_state',
  ],
  'experiments.compiling.estimates': [
    'experiments.compiling.ahead',
    'experiments.compiling.compilation',
    'experiments.compiling.costs',
    'experiments.compiling.hlo',
    'experiments.compiling.topologies',
  ],
  'experiments.compiling.trials': [
    'experiments.compiling.ahead',
    'experiments.compiling.compilation',
    'experiments.compiling.estimates',
    'experiments.compiling.fitting',
    'experiments.compiling.stages',
    'experiments.compiling.topologies',
  ],
  'experiments.compiling.page': [
    'experiments.compiling.costs',
    'experiments.compiling.fitting',
    'experiments.compiling.topologies',
  ],
  'experiments.preflight': [
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.compiling.ahead',
    'experiments.compiling.compilers',
    'experiments.compiling.estimates',
    'experiments.compiling.fitting',
    'experiments.compiling.page',
    'experiments.compiling.stages',
    'experiments.compiling.topologies',
    'experiments.compiling.trials',
    'experiments.experiment',
    'experiments.measuring.forward_pass',
    'experiments.output',
  ],
  'experiments.benchmark': [
    'experiments.baselines.huggingface',
    'experiments.command_line',
    'experiments.configs.imagenet',
    'experiments.configs.imagenet_io',
    'experiments.configs.language',
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.experiment',
    'experiments.measuring.forward_pass',
    'experiments.measuring.input_rate',
    'experiments.measuring.scaling',
    'experiments.output',
    'experiments.parallelism',
    'experiments.precision',
    'experiments.steps',
    'experiments.train_state',
    'perceiver_jax.attention',
    'perceiver_jax.metrics',
  ],
  'experiments.import_weights': [
    'experiments.addresses',
    'experiments.command_line',
    'experiments.configuration',
    'experiments.data.dataset',
    'experiments.experiment',
    'experiments.handing_on.exporting',
    'experiments.handing_on.imported_configs',
    'experiments.handing_on.sources',
    'experiments.handing_on.weights',
    'experiments.tasks.task',
    'experiments.train_state',
    'experiments.transfer',
    'experiments.watching.summary',
    'perceiver_jax.huggingface',
    'perceiver_jax.pretrained',
    'perceiver_jax.published',
    'perceiver_jax.resample',
  ],
  'experiments.flow_pictures': [
    'experiments.command_line',
    'experiments.data.dataset',
    'experiments.data.flow.frame_pairs',
    'experiments.data.flow.frames',
    'experiments.data.flow.motorcycle',
    'experiments.experiment',
    'experiments.viewing.flow_colours',
    'experiments.viewing.flow_drawing',
    'experiments.viewing.pictures',
  ],
  'experiments.train': [
    'experiments.checkpointing.checkpoints',
    'experiments.checkpointing.local_copies',
    'experiments.checkpointing.files',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.configuration',
    'experiments.data.faults',
    'experiments.data.pipeline',
    'experiments.error_text',
    'experiments.early_stop',
    'experiments.evaluation',
    'experiments.experiment',
    'experiments.health',
    'experiments.interruption',
    'experiments.parallelism',
    'experiments.processes',
    'experiments.reporting.writing',
    'experiments.run_lock',
    'experiments.shared_folders',
    'experiments.tasks.open_values',
    'experiments.train_state',
    'experiments.transfer',
    'experiments.watching.compiled_step',
    'experiments.watching.meter',
    'experiments.watching.profiling',
    'experiments.watching.progress',
    'experiments.watching.speed',
    'experiments.watching.starts',
    'experiments.watching.statistics',
    'experiments.watching.summary',
    'experiments.watching.weights_and_biases',
    'experiments.watching.writers',
  ],
  'experiments.sweeps.tables': [],
  'experiments.sweeps.rows': [
    'experiments.configuration',
    'experiments.sweeps.tables',
  ],
  'experiments.sweeps.report': [
    'experiments.sweeps.rows',
    'experiments.sweeps.tables',
  ],
  'experiments.sweep': [
    'experiments.addresses',
    'experiments.command_line',
    'experiments.sweeps.report',
    'experiments.sweeps.rows',
    'experiments.sweeps.tables',
  ],
}

# Other people's packages that have one room only. (grain, orbax and the like
# never enter the library: see LIBRARY_MAY_IMPORT.)
ONLY_IN = {
  'apache_beam': ['experiments.data.sharded_builder'],
  'array_record': ['experiments.data.sharded_builder'],
  'av': [
    'experiments.data.files.containers',
    'experiments.data.files.films',
    'experiments.data.files.media',
  ],
  'absl': [
    'experiments.attention_maps',
    'experiments.benchmark',
    'experiments.chosen_run',
    'experiments.command_line',
    'experiments.compilation_cache',
    'experiments.describe',
    'experiments.export',
    'experiments.flow_pictures',
    'experiments.import_weights',
    'experiments.output',
    'experiments.predict',
    'experiments.preflight',
    'experiments.reconstructions',
    'experiments.report',
    'experiments.serve',
    'experiments.sweep',
  ],
  'cv2': [
    'experiments.data.augmentation.images',
    'experiments.data.digits',
    'experiments.data.flow.augmentation',
    'experiments.data.flow.files',
    'experiments.data.flow.motorcycle',
    'experiments.data.flow.photographs',
    'experiments.data.augmentation.randaugment',
    'experiments.data.stored_video',
    'experiments.data.augmentation.video',
    'experiments.data.flow.warping',
    'experiments.viewing.elements',
    'experiments.viewing.pictures',
  ],
  'etils': [
    'experiments.buckets',
    'experiments.checkpointing.checkpoints',
    'experiments.checkpointing.files',
    'experiments.compilation_cache',
  ],
  'fsspec': ['experiments.buckets'],
  'grain': ['experiments.data.pipeline'],
  'matplotlib': ['experiments.viewing.attention_figure'],
  'orbax': [
    'experiments.checkpointing.files',
    'experiments.checkpointing.manager',
    'experiments.checkpointing.checkpoints',
    'experiments.checkpointing.orbax_noise',
  ],
  'PIL': [
    'experiments.data.augmentation.images',
    'experiments.data.files.images',
    'experiments.data.folders.images',
    'experiments.viewing.encodings',
  ],
  'starlette': [
    'experiments.serving.app',
    'experiments.serving.guard',
    'experiments.serving.sizes',
    'experiments.serving.uploads',
  ],
  'tensorboardX': ['experiments.watching.writers'],
  'tensorflow_datasets': [
    'experiments.data.audioset',
    'experiments.data.sharded_builder',
    'experiments.data.flow.autoflow',
    'experiments.data.bunny',
    'experiments.data.declaration',
    'experiments.data.digits',
    'experiments.data.embedded_builder',
    'experiments.data.features',
    'experiments.data.one_at_a_time',
    'experiments.data.manual_downloads',
    'experiments.data.flow.frame_pairs',
    'experiments.data.folders.builder',
    'experiments.data.furniture',
    'experiments.data.imagenet',
    'experiments.data.kinetics',
    'experiments.data.flow.kitti',
    'experiments.data.modelnet40',
    'experiments.data.flow.photographs',
    'experiments.data.prepared',
    'experiments.data.flow.sintel',
    'experiments.data.stored_video',
    'experiments.data.tones',
    'experiments.data.watch',
  ],
  'trimesh': ['experiments.data.files.points'],
  'safetensors': [
    'experiments.handing_on.load',
    'experiments.handing_on.weights',
    'experiments.handing_on.sources',
  ],
  'tqdm': ['experiments.watching.progress'],
  'uvicorn': ['experiments.serve'],
  'wandb': ['experiments.watching.weights_and_biases'],
  'torch': [
    'experiments.baselines.huggingface',
    'experiments.handing_on.sources',
  ],
  'transformers': ['experiments.baselines.huggingface'],
}
LIBRARY_MAY_IMPORT = {'chex', 'einops', 'haiku', 'jax', 'numpy', 'optax'}


def module_name(path: pathlib.Path) -> str:
  """'perceiver_jax/models/__init__.py' is 'perceiver_jax.models'."""
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {
  module_name(path): path
  for package in PACKAGES
  for path in sorted((ROOT / package).rglob('*.py'))
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def imports_of(tree: ast.AST, modules: set[str]) -> set[str]:
  """All that is imported anywhere in a file, functions included.

  Args:
    tree: of the file.
    modules: ours. `from a import b` imports a.b where that is one, else a.
  """
  found = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'line {node.lineno}: imports are absolute'
      for alias in node.names:
        inner = f'{node.module}.{alias.name}'
        found.add(inner if inner in modules else node.module)
  return found


IMPORTS = {name: imports_of(tree, set(FILES)) for name, tree in TREES.items()}


def ours(names: set[str]) -> set[str]:
  return {name for name in names if name.split('.')[0] in PACKAGES}


def packages(names: set[str]) -> set[str]:
  """Top-level names of other people's packages."""
  tops = {name.split('.')[0] for name in names}
  return tops - set(sys.stdlib_module_names) - set(PACKAGES)


def in_package(package: str) -> list[str]:
  return [name for name in FILES if f'{name}.'.startswith(f'{package}.')]


def test_imports_are_found_wherever_they_stand():
  tree = ast.parse(
    'import a.b as c\n'
    'from d import e, f\n'
    'def g():\n'
    '  from h.i import j\n'
    '  if c:\n'
    '    import k\n'
  )
  assert imports_of(tree, {'d.e', 'h.i'}) == {'a.b', 'd.e', 'd', 'h.i', 'k'}


def test_the_table_has_just_the_modules_that_exist():
  # A new module needs a row of what it may import.
  namespaces = {'experiments', 'experiments.configs', 'experiments.data'}
  assert set(FILES) - set(MAY_IMPORT) == set()
  assert set(MAY_IMPORT) - set(FILES) <= namespaces


@pytest.mark.parametrize('name', list(FILES))
def test_module_imports_only_what_it_may(name):
  assert ours(IMPORTS[name]) <= set(MAY_IMPORT.get(name, []))


@pytest.mark.parametrize('name', list(MAY_IMPORT))
def test_the_table_allows_nothing_that_is_not_used(name):
  if name in IMPORTS:
    assert set(MAY_IMPORT[name]) <= ours(IMPORTS[name])


def test_the_table_is_a_ladder():
  above = list(MAY_IMPORT)
  for i, (name, allowed) in enumerate(MAY_IMPORT.items()):
    assert not set(allowed) - set(above[:i]), f'{name} imports upwards'


def test_nothing_imports_in_a_circle():
  graph = {name: ours(imported) for name, imported in IMPORTS.items()}
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    pytest.fail(f'{" -> ".join(error.args[1])}')


def test_all_modules_live_in_one_process():
  # A flag that two commands define is an error only then.
  script = '\n'.join(f'import {name}' for name in sorted(FILES))
  result = subprocess.run(
    [sys.executable, '-c', script], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('name', in_package('perceiver_jax'))
def test_the_library_knows_no_runner_and_no_data(name):
  imported = IMPORTS[name]
  assert packages(imported) <= LIBRARY_MAY_IMPORT
  assert 'experiments' not in {each.split('.')[0] for each in ours(imported)}


@pytest.mark.parametrize('name', in_package('experiments.configs'))
def test_configs_import_only_config_dicts(name):
  assert packages(IMPORTS[name]) <= {'ml_collections'}
  # Published models are values, too.
  assert ours(IMPORTS[name]) <= {'perceiver_jax.published'}


@pytest.mark.parametrize('package', list(ONLY_IN))
def test_a_foreign_package_stays_in_its_room(package):
  rooms = {name for name in FILES if package in packages(IMPORTS[name])}
  assert rooms == set(ONLY_IN[package])


def test_nothing_of_ours_imports_the_tests():
  for name, imported in IMPORTS.items():
    assert 'tests' not in {each.split('.')[0] for each in imported}, name


def test_pmap_is_known_to_one_file():
  users = {
    name
    for name, tree in TREES.items()
    for node in ast.walk(tree)
    if (isinstance(node, ast.Attribute) and node.attr == 'pmap')
    or (isinstance(node, ast.alias) and node.name == 'pmap')
  }
  assert users == {'experiments.stepping.replicated'}


def module_level(tree: ast.Module) -> ast.Module:
  """A copy without the bodies of functions, which run only when called."""

  class Strip(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
      return ast.Pass()

    visit_AsyncFunctionDef = visit_FunctionDef

  return Strip().visit(ast.parse(ast.unparse(tree)))


def test_module_level_is_told_from_the_inside_of_functions():
  tree = ast.parse(
    'try:\n  import a\nexcept ImportError:\n  pass\n'
    'class C:\n  import b\n  def f(self):\n    import c\n'
    'def g():\n  import d\n'
  )
  assert imports_of(module_level(tree), set()) == {'a', 'b'}


def test_tensorflow_is_never_imported_with_a_module():
  # TFDS imports it itself when a data set is prepared that needs it.
  files = [*FILES.values(), *sorted((ROOT / 'tests').rglob('*.py'))]
  assert len(files) > len(FILES) + 5
  for path in files:
    tree = module_level(ast.parse(path.read_text()))
    assert 'tensorflow' not in packages(imports_of(tree, set())), path


def public_without_docstring(body: list[ast.stmt], prefix: str) -> list[str]:
  """Public functions, classes and their public methods that say nothing."""
  silent = []
  for node in body:
    if not isinstance(
      node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) or node.name.startswith('_'):
      continue
    name = f'{prefix}.{node.name}'
    if ast.get_docstring(node) is None:
      silent.append(name)
    if isinstance(node, ast.ClassDef):
      silent += public_without_docstring(node.body, name)
  return silent


def test_missing_docstrings_are_found():
  tree = ast.parse(
    'def a():\n  pass\n'
    'class B:\n  """Says."""\n  def c(self):\n    pass\n  def _d(self):\n'
    '    pass\n'
    'def _e():\n  pass\n'
  )
  assert public_without_docstring(tree.body, 'm') == ['m.a', 'm.B.c']


@pytest.mark.parametrize('name', list(FILES))
def test_everything_public_has_a_docstring(name):
  assert ast.get_docstring(TREES[name])
  assert public_without_docstring(TREES[name].body, name) == []


@pytest.mark.parametrize('name', list(FILES))
def test_files_are_short(name):
  assert len(FILES[name].read_text().splitlines()) <= MAX_LINES


def test_there_is_no_utils():
  # A module is named by its job.
  assert not [n for n in FILES if n.split('.')[-1] in ('utils', 'helpers')]
