"""Stores of buckets on this machine, which speak what Google's and Amazon's do.

`gcp-storage-emulator` for gs://, `moto` for s3://, on free ports of loopback.
"""

import contextlib
import socket
from collections.abc import Iterator
from http import HTTPStatus

import fsspec
import pytest

BUCKET = 'bucket'


@contextlib.contextmanager
def serve_gs() -> Iterator[dict[str, str]]:
  """Serves gs://bucket; yields the variables with which it is found."""
  from gcp_storage_emulator.handlers import objects

  if objects.insert is not _insert:
    _PLAIN.update(insert=objects.insert, download=objects.download)
    objects.insert, objects.download = _insert, _download
  from gcp_storage_emulator.server import create_server

  port = _free_port()
  server = create_server('127.0.0.1', port, in_memory=True)
  server._storage.create_bucket(BUCKET, {'name': BUCKET})
  server.start()
  address = f'http://127.0.0.1:{port}'
  try:
    yield {
      'STORAGE_EMULATOR_HOST': address,
      'TENSORSTORE_GCS_HTTP_URL': address,
      'GOOGLE_CLOUD_PROJECT': 'tests',
      # Nobody here knows what kind of bucket, or machine, it is.
      'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
      'NO_GCE_CHECK': 'true',
    }
  finally:
    server.stop()


@contextlib.contextmanager
def serve_s3() -> Iterator[dict[str, str]]:
  """Serves s3://bucket; yields the variables with which it is found."""
  import boto3
  from moto.server import ThreadedMotoServer

  server = ThreadedMotoServer('127.0.0.1', _free_port(), verbose=False)
  server.start()
  address = f'http://127.0.0.1:{server.get_host_and_port()[1]}'
  variables = {
    'AWS_ENDPOINT_URL': address,
    'AWS_ACCESS_KEY_ID': 'tests',
    'AWS_SECRET_ACCESS_KEY': 'tests',
    'AWS_DEFAULT_REGION': 'us-east-1',
  }
  client = boto3.client(
    's3',
    endpoint_url=address,
    aws_access_key_id='tests',
    aws_secret_access_key='tests',
    region_name='us-east-1',
  )
  client.create_bucket(Bucket=BUCKET)
  try:
    yield variables
  finally:
    server.stop()


@pytest.fixture(scope='session')
def stores() -> Iterator[None]:
  """Both, for this process and those that it starts."""
  with (
    serve_gs() as gs,
    serve_s3() as s3,
    pytest.MonkeyPatch.context() as patch,
  ):
    for name, value in (gs | s3).items():
      patch.setenv(name, value)
    yield
    for scheme in ('gs', 's3'):
      fsspec.get_filesystem_class(scheme).clear_instance_cache()


# What the emulator lacks: writing under a condition, and telling generations of
# what is downloaded. It answers one request at a time.
_PLAIN = {}


def _insert(request, response, storage, *arguments, **options):
  wanted = request.query.get('ifGenerationMatch')
  if wanted is not None:
    named = request.query.get('name')
    data = request.data
    name = named[0] if named else data.get('meta', data)['name']
    if wanted[0] != _generation(storage, request.params['bucket_name'], name):
      response.status = HTTPStatus.PRECONDITION_FAILED
      response.json({'error': {'code': 412, 'message': 'conditionNotMet'}})
      return
  _PLAIN['insert'](request, response, storage, *arguments, **options)


def _download(request, response, storage, *arguments, **options):
  _PLAIN['download'](request, response, storage, *arguments, **options)
  generation = _generation(
    storage, request.params['bucket_name'], request.params['object_id']
  )
  if generation != '0':
    response['x-goog-generation'] = generation


def _generation(storage, bucket: str, name: str) -> str:
  from gcp_storage_emulator.exceptions import NotFound

  try:
    return storage.get_file_obj(bucket, name)['generation']
  except NotFound:
    return '0'


def _free_port() -> int:
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]
