"""Files of events as people's programs write them, and what they come to."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from experiments.modalities.events.files import read_events

# Of all files below, in order of time.
EXPECTED = [(1.0, 'a', 5.0), (1.0, 'b', 2.0), (2.5, 'a', -1.0), (4.0, 'b', 3.5)]
WIDE = 'time,a,b\n2.5,-1,\n1,5,2\n4,,3.5\n'
LONG = 'value,time,channel\n3.5,4,b\n5,1,a\n,3,a\n-1,2.5,a\n2,1,b\n'
TEXTS = {
  'wide': WIDE,
  'what writes nan': WIDE.replace(',\n', ',NaN\n').replace(',,', ',NA,'),
  'a column without any event': 'time,a,b,c\n2.5,-1,,\n1,5,2,\n4,,3.5,\n',
  'a line without any event': WIDE + '9,,\n,,\n',
  'other columns first': 'b,a,t\n,-1,2.5\n2,5,1\n3.5,,4\n',
  'milliseconds': 'time_ms,a,b\n2500,-1,\n1000,5,2\n4000,,3.5\n',
  'minutes': 'Time [min],a,b\n0.041666666666666664,-1,\n0.016666666666666666,'
  '5,2\n0.06666666666666667,,3.5\n',
  'seconds by name': 'seconds;a;b\n2,5;-1;\n1;5;2\n4;;3,5\n',
  'times of day': 'time,a,b\n00:00:02.5,-1,\n0:00:01,5,2\n00:00:04,,3.5\n',
  'dates': 'date,a,b\n1970-01-01T00:00:02.5Z,-1,\n1970-01-01 00:00:01,5,2\n'
  '1970-01-01 00:00:04,,3.5\n',
  'long': LONG,
  'long, with more columns': 'time,variable,value,unit\n'
  '1,a,5,mmHg\n1,b,2,\n2.5,a,-1,mmHg\n4,b,3.5,\n',
}


def told(events):
  return [
    (time, events.names[channel], value)
    for time, channel, value in zip(
      events.time, events.channel, events.value, strict=True
    )
  ]


def near(found, expected):
  assert [x[1] for x in found] == [x[1] for x in expected]
  for k in (0, 2):
    np.testing.assert_allclose(
      [x[k] for x in found], [x[k] for x in expected], rtol=1e-6
    )


def write(path, text):
  path.write_text(text, encoding='utf-8')
  return path


@pytest.mark.parametrize('name', TEXTS)
def test_the_events_of_a_file(tmp_path, name):
  found = read_events(write(tmp_path / 'x.csv', TEXTS[name]))
  assert found.time.dtype == found.value.dtype == np.float64
  assert found.channel.dtype == np.int32
  near(told(found), EXPECTED)


def test_tabs_and_lines_of_json(tmp_path):
  path = write(tmp_path / 'x.tsv', WIDE.replace(',', '\t'))
  near(told(read_events(path)), EXPECTED)
  lines = [
    {'time': time, 'channel': channel, 'value': value}
    for time, channel, value in EXPECTED[::-1]
  ]
  path = write(tmp_path / 'x.jsonl', '\n'.join(map(json.dumps, lines)))
  near(told(read_events(path)), EXPECTED)


def test_parquet_keeps_times_as_times(tmp_path):
  epoch = datetime.datetime(1970, 1, 1)
  times = [epoch + datetime.timedelta(seconds=x[0]) for x in EXPECTED]
  table = pa.table(
    {
      'timestamp': times,
      'signal': [x[1] for x in EXPECTED],
      'value': [x[2] for x in EXPECTED],
    }
  )
  pyarrow.parquet.write_table(table, tmp_path / 'x.parquet')
  near(told(read_events(tmp_path / 'x.parquet')), EXPECTED)


def test_arrays_in_both_forms(tmp_path):
  time = np.array([2.5, 1.0, 4.0])
  a, b = np.array([-1, 5, np.nan]), np.array([np.nan, 2, 3.5])
  np.savez(tmp_path / 'wide.npz', time=time, a=a, b=b)
  near(told(read_events(tmp_path / 'wide.npz')), EXPECTED)
  np.savez(
    tmp_path / 'dates.npz', time=(1000 * time).astype('M8[ms]'), a=a, b=b
  )
  near(told(read_events(tmp_path / 'dates.npz')), EXPECTED)
  np.savez(tmp_path / 'joined.npz', time=time, x=np.stack([a, b], axis=1))
  found = read_events(tmp_path / 'joined.npz')
  assert found.names == ('x_0', 'x_1')
  np.testing.assert_array_equal(found.value, [x[2] for x in EXPECTED])
  times, channels, values = zip(*EXPECTED[::-1], strict=True)
  np.savez(tmp_path / 'long.npz', time=times, channel=channels, value=values)
  near(told(read_events(tmp_path / 'long.npz')), EXPECTED)


def test_channels_in_the_order_that_is_given(tmp_path):
  path = write(tmp_path / 'x.csv', LONG)
  found = read_events(path, ('c', 'b', 'a'))
  assert found.names == ('c', 'b', 'a')
  # Those of one time, by their numbers.
  assert found.channel.tolist() == [1, 2, 2, 1]
  near(sorted(told(found)), EXPECTED)


@pytest.mark.parametrize('text', [WIDE, LONG])
def test_the_order_of_lines_tells_nothing(tmp_path, text):
  header, *lines = text.splitlines()
  turned = '\n'.join([header, *lines[::-1]])
  first = read_events(write(tmp_path / 'x.csv', text))
  second = read_events(write(tmp_path / 'y.csv', turned))
  for one, other in zip(first[:3], second[:3], strict=True):
    np.testing.assert_array_equal(one, other)


WRONG = {
  'x,y\n1,2\n': 'no column of times',
  'time,date,a\n1,2,3\n': "the columns of times 'time', 'date'",
  'time,a\n1,2\n2,high\n': "line 3, column 'a': 'high' is no number",
  'time,a\n1,2\n2,inf\n': "line 3, column 'a'",
  'time,a\n1,2\n,3\n': "line 3, column 'time': there are events without",
  'time,a\n1,2\nlate,3\n': "line 3, column 'time': 'late' is no number",
  'time,a\n2020-01-01,2\n7,3\n': "line 3, column 'time': '7' is no date",
  'time,a\n10:00,2\n7,3\n': "column 'time': '7' is no time as HH:MM:SS",
  'time,a\n13/01/2020,2\n01/13/2020,3\n': "column 'time': '13/01/2020' has",
  'time,a\n1,\n2,\n': 'no events',
  'time,channel,value\n1,a,2\n2,,3\n': 'line 3 has a value and no channel',
}


@pytest.mark.parametrize('text', WRONG)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text):
  path = write(tmp_path / 'x.csv', text)
  with pytest.raises(ValueError) as caught:
    read_events(path)
  assert str(path) in str(caught.value)
  assert WRONG[text] in str(caught.value)
  assert '\n' not in str(caught.value)


def test_a_channel_that_is_not_known_is_named(tmp_path):
  path = write(tmp_path / 'x.csv', WIDE)
  with pytest.raises(ValueError, match="the channel 'b'; known are a, c"):
    read_events(path, ('a', 'c'))
  # Without an event of it nothing is amiss.
  path = write(tmp_path / 'y.csv', 'time,a,b\n1,2,\n')
  assert told(read_events(path, ('a', 'c'))) == [(1.0, 'a', 2.0)]


def test_arrays_that_are_wrong(tmp_path):
  np.savez(tmp_path / 'x.npz', time=np.arange(3), a=np.arange(4))
  with pytest.raises(ValueError, match='several lengths'):
    read_events(tmp_path / 'x.npz')
  np.savez(tmp_path / 'y.npz', time=np.arange(3), a=np.zeros((3, 1, 1)))
  with pytest.raises(ValueError, match=r"'a' of float64 \(3, 1, 1\)"):
    read_events(tmp_path / 'y.npz')
  (tmp_path / 'z.npz').write_bytes(b'PK\x03\x04 is cut')
  with pytest.raises(ValueError, match='cannot be read as events'):
    read_events(tmp_path / 'z.npz')
  np.savez(tmp_path / 'w.npz', time=np.arange(2.0), a=np.array(['1', 'x']))
  with pytest.raises(ValueError, match='entry 1, column'):
    read_events(tmp_path / 'w.npz')
