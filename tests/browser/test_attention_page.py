"""The page of attention in a real browser: headless Chromium."""

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from experiments.attention.page import attention_page
from tests.attention_examples import TEXT, maps_of, random_maps

KINDS = (
  'image',
  'video',
  'frames',
  'sound',
  'spectrogram',
  'series',
  'events',
  'points',
  'text',
)
TITLE = 'a <b>b</b> </script><script>throw 1</script> & "c".png'


@pytest.fixture
def show(browser, tmp_path):
  """Opens a page; checks in the end that nothing went wrong on it."""

  def open_page(maps, width=1200, **settings):
    path = tmp_path / 'page.html'
    path.write_text(attention_page(TITLE, maps, **settings), encoding='utf-8')
    browser.execute_cdp_cmd(
      'Emulation.setDeviceMetricsOverride',
      {
        'width': width,
        'height': 900,
        'deviceScaleFactor': 1,
        'mobile': width < 600,
      },
    )
    browser.get(path.as_uri())
    return Page(browser)

  yield open_page
  assert browser.get_log('browser') == []


class Page:
  """What a person sees and does."""

  def __init__(self, browser):
    self.browser = browser
    settled(browser)

  def all(self, selector):
    return self.browser.find_elements(By.CSS_SELECTOR, selector)

  def text(self, selector):
    return self.all(selector)[0].text

  def picture(self, selector='.input'):
    """What is drawn of the input, to be compared."""
    settled(self.browser)
    return self.browser.execute_script(
      'const e = document.querySelector(arguments[0]);'
      'return e.toDataURL ? e.toDataURL() : e.outerHTML',
      selector,
    )

  def move_to(self, x, y):
    """Moves the mouse over the input, to parts of its width and height."""
    element = self.all('.input')[0]
    size = element.size
    ActionChains(self.browser, duration=0).move_to_element_with_offset(
      element,
      round((x - 0.5) * size['width']),
      round((y - 0.5) * size['height']),
    ).perform()
    settled(self.browser)

  def press(self, *keys):
    ActionChains(self.browser).send_keys(*keys).perform()
    settled(self.browser)

  def strengths(self):
    """How strongly each button is lit, from 0 to 1."""
    return self.browser.execute_script(
      'return [...document.querySelectorAll(".latents button")]'
      '.map(b => Number(b.style.getPropertyValue("--strength")))'
    )

  def picked(self):
    return [each.text for each in self.all('[aria-checked=true]')]

  def depth(self):
    return [each.text for each in self.all('[role=tab][aria-selected=true]')]


def settled(browser):
  """Waits until two frames were drawn."""
  browser.execute_async_script(
    'requestAnimationFrame(() => requestAnimationFrame(arguments[0]))'
  )


def pointed_maps():
  """Over an image of 12 x 8: latent n looks at pixel 10 n, depth adds one."""
  flat = np.full((2, 4, 96), 1e-4)
  for depth in range(2):
    for latent in range(4):
      flat[depth, latent, 10 * latent + depth] = 1.0
  return maps_of(['image'], flat / flat.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_input_is_drawn_and_looked_at(show, kind):
  page = show(random_maps(kind))
  everything = page.picture()
  page.all('.latents button')[3].click()
  picked = page.picture()
  assert picked != everything
  page.all('[role=tab]')[0].click()
  assert page.picture() != picked
  page.move_to(0.999, 0.001)  # Where there are no points.
  before = page.picture()
  x, y = (0.2, 0.4)
  if kind == 'points':
    x, y = page.browser.execute_script(
      'const {places, canvas} = inputs[0].shown;'
      'return [places[7][0] / canvas.clientWidth,'
      ' places[7][1] / canvas.clientHeight]'
    )
  page.move_to(x, y)
  assert page.picture() != before
  assert max(page.strengths()) > 0
  assert 'Latent 2' in page.text('.place')


def test_a_text_is_shown_as_it_is(show):
  page = show(random_maps('text'))
  shown = page.browser.execute_script(
    "return document.querySelector('.text').textContent"
  )
  assert shown == TEXT.replace('\n', '⏎\n')
  assert page.text('h1') == TITLE


def test_latents_light_up_where_they_look(show):
  page = show(pointed_maps())
  # At the second depth latent 2 looks at pixel 21: row 2, column 5. The picture
  # is in the middle of the canvas, as high as it may be.
  box = page.browser.execute_script(
    'const c = document.querySelector(".input");'
    'return [c.clientWidth, c.clientHeight]'
  )
  width = box[1] / 1.5
  left = (box[0] - width) / 2
  page.move_to((left + 5.5 / 8 * width) / box[0], 2.5 / 12)
  strengths = page.strengths()
  assert strengths[3] > 0.99  # After all of them and latents 0 and 1.
  assert max(strengths[:3] + strengths[4:]) < 0.1
  words = page.text('.place')
  assert 'Row 3, column 6 of 12 \u00d7 8' in words
  # All but 1 % of its attention, which is 95 times the average.
  assert 'latent 2 (95)' in words
  page.move_to((left + 1.5 / 8 * width) / box[0], 0.5 / 12)
  assert page.strengths()[1] > 0.99
  page.browser.execute_script('window.scrollTo(0, 0)')
  ActionChains(page.browser, duration=0).move_by_offset(0, 0).perform()
  page.all('h1')[0].click()
  assert max(page.strengths()) == 0.0


def test_picking_shows_where_a_latent_looks_at_each_depth(show):
  page = show(pointed_maps())
  first = page.picture('.all-depths canvas')
  page.all('.latents button')[2].click()
  assert page.picked() == ['1']
  assert page.picture('.all-depths canvas') != first
  assert 'Latent 1 at cross-attend 2: entropy' in page.text('.picked')
  at_second = page.picture()
  page.all('.all-depths button')[0].click()
  assert page.depth() == ['Cross-attend 1']
  assert page.picture() != at_second
  assert 'cross-attend 1' in page.text('.picked')
  page.all('.latents button')[2].click()  # Picked again: back to all.
  assert page.picked() == ['All']


def test_the_brightest_pixel_is_the_one_looked_at(show):
  page = show(pointed_maps())
  page.all('.latents button')[4].click()
  thumbnail = page.browser.execute_script(
    'const c = document.querySelectorAll(".all-depths canvas")[1];'
    'const d = c.getContext("2d").getImageData(0, 0, c.width, c.height);'
    'return [c.width, c.height, ...d.data]'
  )
  assert thumbnail[:2] == [8, 12]
  colours = np.array(thumbnail[2:]).reshape(96, 4)
  assert colours[31].tolist() == [255, 244, 190, 255]
  assert (colours[np.arange(96) != 31, :3].sum(axis=1) < 100).all()


def test_keys(show):
  page = show(random_maps('image', latents=9))
  page.all('.latents button')[0].click()
  page.press(Keys.ARROW_RIGHT)
  page.press(Keys.ARROW_RIGHT)
  assert page.picked() == ['1']
  focused = page.browser.switch_to.active_element
  assert focused.text == '1'
  assert 'entropy' in focused.get_attribute('aria-label')
  page.press(Keys.ARROW_LEFT)
  assert page.picked() == ['0']
  page.press(Keys.END)
  assert page.picked() == ['8']
  page.press(Keys.ARROW_UP)
  tops = [button.location['y'] for button in page.all('.latents button')]
  across = tops.count(tops[0])
  assert page.picked() == [str(max(8 - across, -1)).replace('-1', 'All')]
  page.press('[')
  assert page.depth() == ['Cross-attend 1']
  page.press('[')
  assert page.depth() == ['Cross-attend 1']
  page.press(']')
  assert page.depth() == ['Cross-attend 2']
  page.press(Keys.ESCAPE)
  assert page.picked() == ['All']
  # From the latents back to the input: the pixel beside the first, then below.
  page.browser.execute_script("document.querySelector('.input').focus()")
  page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
  assert 'Row 2, column 2' in page.text('.place')


def test_focus_is_seen(show):
  page = show(random_maps('image'))
  page.press(Keys.TAB)
  outline = page.browser.switch_to.active_element.value_of_css_property(
    'outline-style'
  )
  assert outline == 'solid'


def test_points_are_turned(show):
  page = show(random_maps('points'))
  before = page.picture()
  canvas = page.all('.input')[0]
  ActionChains(page.browser).drag_and_drop_by_offset(canvas, 80, 20).perform()
  page.move_to(0.01, 0.01)
  turned = page.picture()
  assert turned != before
  page.browser.execute_script("document.querySelector('.input').focus()")
  page.press(Keys.ARROW_LEFT)
  assert page.picture() != turned


@pytest.mark.parametrize('kinds', [*[(kind,) for kind in KINDS], KINDS])
def test_a_phone_does_not_scroll_sideways(show, kinds):
  page = show(random_maps(*kinds, latents=40), width=360)
  widths = page.browser.execute_script(
    'return [document.documentElement.scrollWidth, innerWidth]'
  )
  assert widths == [360, 360]
  assert len(page.all('.input')) == len(kinds)


def test_a_modality_that_is_not_looked_at_is_dark(show):
  """All maps of a latent have one scale."""
  flat = np.zeros((1, 2, 116))
  flat[0, 0, :10] = 1 / 10
  flat[0, 1, 96:98] = 1 / 2
  page = show(maps_of(['image', 'sound'], flat))
  assert not page.all('.depths')[0].is_displayed()  # There is only one.
  share = page.browser.execute_script(
    'const canvas = [...document.querySelectorAll(".latents button")][1]'
    '.querySelectorAll("canvas");'
    'return [...canvas].map(c => c.getContext("2d")'
    '.getImageData(0, 0, 1, 1).data[0])'
  )
  assert share[0] == 255
  assert share[1] < 30
  page.all('.latents button')[2].click()
  assert '100' in page.text('.picked').split('sound')[0]


def test_nothing_is_fetched(show):
  page = show(random_maps(*KINDS))
  fetched = page.browser.execute_script(
    'return performance.getEntriesByType("resource").map(x => x.name)'
  )
  assert [name for name in fetched if not name.startswith('data:')] == []
