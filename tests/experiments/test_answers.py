"""What the server's page says of each kind, and answers that no file has."""

import numpy as np
import pytest

from experiments.answers.classes.record import CLASSES
from experiments.answers.classes.value import Classes
from experiments.answers.embeddings.record import EMBEDDINGS, tell_embeddings
from experiments.answers.filled_text.record import (
  FILLED_TEXT,
  Blank,
  FilledText,
)
from experiments.answers.flow.record import FLOW, Flow
from experiments.answers.judgements.record import JUDGEMENTS, Judgements
from experiments.answers.reconstruction.record import RECONSTRUCTION
from experiments.answers.reconstruction.value import Reconstruction
from tests.pages import Page

HOSTILE = '<img src=x>&"'


def texts_of(said, tag):
  """Attributes of all elements of a kind."""
  return [attributes for name, attributes in Page(said).tags if name == tag]


def test_classes_are_said_in_bars():
  answer = Classes((HOSTILE, 'b', 'c'), np.array([0.75, 0.05, 0.2]))
  said = CLASSES.said(answer, 2)
  assert Page(said).words.replace('\N{NO-BREAK SPACE}', ' ') == (
    f'{HOSTILE}{HOSTILE}75.0 %c20.0 %'
  )
  assert [each['style'] for each in texts_of(said, 'i')] == [
    '--share: 0.75',
    '--share: 0.2',
  ]
  assert not texts_of(said, 'img')


def test_filled_text_is_said_with_a_row_of_choices_a_byte():
  chances = np.zeros((2, 256))
  chances[0, ord('<')], chances[0, ord(' ')] = 0.75, 0.25
  chances[1, 0xC3] = 1.0
  answer = FilledText('a<\ufffd&', [Blank(1, 3, chances)])
  said = FILLED_TEXT.said(answer, 1)
  assert '<p class="filled">a<mark>&lt;\ufffd</mark>&amp;</p>' in said
  rows = Page(said).tables[0]
  assert [[cell.split() for cell in row] for row in rows] == [
    [['<', '75.0', '%']],
    [['\\xc3', '100.0', '%']],
  ]


def test_judgements_are_said_task_by_task():
  classes = Classes(('no', HOSTILE), np.array([0.25, 0.75]))
  said = JUDGEMENTS.said(Judgements({'rte': classes}, {'stsb': 3.456}), 1)
  words = Page(said).words
  assert words.startswith('rte') and words.endswith('stsb3.46')
  assert HOSTILE in words and 'no' not in words
  assert not texts_of(said, 'img')


def test_flow_is_said_in_pixels():
  flow = np.zeros((2, 2, 2))
  flow[0, 0] = 6.0, 8.0
  said = FLOW.said(Flow(np.zeros((2, 2, 2, 3), np.uint8), flow), 5)
  assert Page(said).words == 'Motion of 0.0 pixels in the median, 10.0 at most.'


def test_of_reconstructions_the_classes_alone_are_said():
  answer = Reconstruction({}, {}, {'image': 30.0})
  assert RECONSTRUCTION.said(answer, 5) == ''
  classes = Classes(('run', 'sing'), np.array([0.25, 0.75]))
  whole = answer._replace(classes=classes)
  assert RECONSTRUCTION.said(whole, 5) == CLASSES.said(classes, 5)
  assert RECONSTRUCTION.drawn(whole) == []


def test_embeddings_are_of_the_entities_that_are_there(tmp_path):
  vectors = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
  example = {'mask': np.array([True, False, True, True])}
  answer = tell_embeddings([vectors], [example])
  np.testing.assert_array_equal(answer.vectors, vectors[[0, 2, 3]])
  assert EMBEDDINGS.json(answer, 5) == {
    'embeddings': {'entities': 3, 'channels': 3}
  }
  (line,) = EMBEDDINGS.lines(answer, 5)
  assert line == '3 entities, an embedding of 3 numbers each'
  assert [x.body for x in EMBEDDINGS.panels(answer)] == [line]
  (path,) = EMBEDDINGS.write(answer, tmp_path / 'new', 'a')
  with np.load(path) as written:
    np.testing.assert_array_equal(written['embeddings'], vectors[[0, 2, 3]])


@pytest.mark.parametrize('top', [1, 3])
def test_a_class_of_all_is_noted_in_a_sentence(top):
  answer = Classes(('cat', 'dog'), np.array([0.2, 0.8]))
  assert CLASSES.note(answer) == 'The model says: dog (80.0%).'
  assert len(CLASSES.lines(answer, top)) == min(top, 2)
  assert FLOW.note(None) == ''  # Nothing that a sentence could say.
