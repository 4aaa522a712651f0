"""Has gcloud take command lines apart; run by the Python that gcloud brings.

  PYTHON parse.py SDK_ROOT < COMMANDS

COMMANDS is JSON, a list of lists of arguments. Prints a list as long: of what
gcloud says against each, or an empty text. Nothing is carried out.
"""

import io
import json
import sys


def main():
  root = sys.argv[1]
  sys.path[:0] = [f'{root}/lib', f'{root}/lib/third_party']
  # Before gcloud takes hold of it.
  sys.stderr = io.StringIO()
  from googlecloudsdk import gcloud_main

  # What gcloud itself calls before it runs a command.
  parser = gcloud_main.CreateCLI([])._CLI__parser
  print(json.dumps([complaint(parser, x) for x in json.load(sys.stdin)]))


def complaint(parser, arguments):
  before = len(sys.stderr.getvalue())
  try:
    parser.parse_args(arguments)
  except SystemExit:
    return sys.stderr.getvalue()[before:] or 'refused'
  except Exception as error:  # Such as a name that cannot be a project's.
    return repr(error)
  return ''


if __name__ == '__main__':
  main()
