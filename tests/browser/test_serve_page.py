"""The page of the server in a real browser: headless Chromium."""

import base64

import numpy as np
import PIL.Image
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.served import served, small_digits

SECONDS = 60
NAME = "<img src=x onerror=alert(1)> 'a' & b.png"


@pytest.fixture(scope='module')
def address():
  with served(small_digits(), most_bytes=200_000) as address:
    yield address


@pytest.fixture
def page(browser, address):
  """The page; what went wrong on it is an error in the end."""
  resize(browser, 1000)
  browser.get(address)
  wait(browser, lambda: find(browser, 'kinds').text)
  assert not find(browser, 'answer').is_displayed()
  yield browser
  # What the server refuses, the browser notes itself.
  notes = [
    each
    for each in browser.get_log('browser')
    if 'the server responded with a status of 4' not in each['message']
  ]
  assert notes == []


@pytest.fixture(scope='module')
def digit(tmp_path_factory):
  pixels = np.zeros((28, 28), np.uint8)
  pixels[4:24, 8:20] = np.random.default_rng(0).integers(0, 256, (20, 12))
  path = tmp_path_factory.mktemp('files') / NAME
  PIL.Image.fromarray(pixels).save(path)
  return path


def resize(browser, width):
  browser.execute_cdp_cmd(
    'Emulation.setDeviceMetricsOverride',
    {
      'width': width,
      'height': 800,
      'deviceScaleFactor': 1,
      'mobile': width < 600,
    },
  )


def find(browser, name):
  return browser.find_element(By.ID, name)


def wait(browser, condition):
  return WebDriverWait(browser, SECONDS, 0.05).until(lambda _: condition())


def answered(browser):
  """Waits for what is said of the latest question."""
  wait(browser, lambda: not find(browser, 'status').text)


def choose(browser, path):
  find(browser, 'file').send_keys(str(path))
  answered(browser)


def likeliest(browser):
  rows = browser.find_elements(By.CSS_SELECTOR, '.classes li')
  assert len(rows) == 5
  return [row.text.split('\n') for row in rows]


def test_a_file_is_answered(page, digit):
  choose(page, digit)
  assert find(page, 'name').text == NAME
  (first, share), *others = likeliest(page)
  assert page.find_element(By.CSS_SELECTOR, '.first').text == first
  shares = [float(x.rstrip('\u00a0%')) for x in (share, *dict(others).values())]
  assert shares == sorted(shares, reverse=True)
  bar = page.find_element(By.CSS_SELECTOR, '.classes i')
  full = page.execute_script(
    'return parseFloat(getComputedStyle(arguments[0], "::after").width)'
    ' / arguments[0].clientWidth',
    bar,
  )
  assert 100 * full == pytest.approx(shares[0], abs=1)
  # The picture that the model is given is there, as large squares.
  image = page.find_element(By.CSS_SELECTOR, '#views img')
  assert image.get_attribute('naturalWidth') == '28'
  assert image.size['width'] > 100
  # No name is taken for HTML.
  assert not page.find_elements(By.CSS_SELECTOR, 'img[src=x]')
  assert find(page, 'error').text == ''


def test_attention_opens_beside_it(page, digit):
  choose(page, digit)
  before = page.current_window_handle
  find(page, 'look').click()
  wait(page, lambda: len(page.window_handles) == 2)
  (opened,) = set(page.window_handles) - {before}
  page.switch_to.window(opened)
  try:
    wait(page, lambda: page.find_elements(By.CSS_SELECTOR, '.latents button'))
    assert page.title == NAME
    assert page.find_element(By.TAG_NAME, 'h1').text == NAME
    latents = page.find_elements(By.CSS_SELECTOR, '.latents button')
    assert len(latents) == 5  # All together, and each.
    latents[2].click()
    assert latents[2].get_attribute('aria-checked') == 'true'
    drawn = page.execute_script(
      'return document.querySelector("canvas.input").toDataURL().length'
    )
    assert drawn > 1000
    assert page.get_log('browser') == []
  finally:
    page.close()
    page.switch_to.window(before)
  # The page itself is as it was, and asks again.
  assert find(page, 'name').text == NAME
  choose(page, digit)
  likeliest(page)


def test_files_that_are_no_input(page, digit, tmp_path):
  choose(page, digit)
  bad = tmp_path / 'bad <b>.png'
  bad.write_bytes(b'no picture')
  choose(page, bad)
  assert 'bad <b>.png is no image, or is damaged' in find(page, 'error').text
  assert not find(page, 'answer').is_displayed()
  other = tmp_path / 'sound.wav'
  other.write_bytes(b'x')
  choose(page, other)
  assert 'sound.wav: this run reads .jpg' in find(page, 'error').text
  large = tmp_path / 'large.png'
  large.write_bytes(bytes(300_000))
  choose(page, large)
  assert find(page, 'error').text == 'That is 0.3 MB, and the limit is 0.2 MB.'
  choose(page, digit)
  assert find(page, 'error').text == ''
  likeliest(page)


def test_a_file_is_dropped(page, digit):
  page.execute_script(
    """
    const data = Uint8Array.from(atob(arguments[0]), (x) => x.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([data], 'dropped.png'));
    const drop = (type) => document.getElementById('drop').dispatchEvent(
      new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true}));
    drop('dragover');
    window.over = document.getElementById('drop').className;
    drop('drop');
    """,
    base64.b64encode(digit.read_bytes()).decode(),
  )
  assert page.execute_script('return window.over') == 'drop over'
  wait(page, lambda: find(page, 'answer').is_displayed())
  assert find(page, 'name').text == 'dropped.png'
  assert find(page, 'drop').get_attribute('class') == 'drop'


def test_everything_is_reached_by_keys(page, digit):
  choose(page, digit)
  page.execute_script('document.activeElement.blur()')
  seen = []
  for _ in range(3):
    ActionChains(page).send_keys(Keys.TAB).perform()
    active = page.switch_to.active_element
    seen.append(active.get_attribute('id') or active.tag_name)
  assert seen == ['file', 'look', 'summary']
  ring = page.execute_script(
    'document.getElementById("file").focus({focusVisible: true});'
    'return getComputedStyle(document.getElementById("drop")).outlineStyle'
  )
  assert ring == 'solid'


@pytest.mark.parametrize('width', [360, 1000])
def test_it_fits(page, digit, width):
  resize(page, width)
  choose(page, digit)
  page.find_element(By.TAG_NAME, 'summary').click()
  assert 'curl -F file=@a.jpg http' in find(page, 'example').text
  widths = page.execute_script(
    'const {scrollWidth, clientWidth} = document.documentElement;'
    'return [innerWidth, scrollWidth - clientWidth]'
  )
  assert widths == [width, 0]


def test_a_server_that_is_gone(browser, digit):
  resize(browser, 1000)
  with served(small_digits()) as address:
    browser.get(address)
    wait(browser, lambda: find(browser, 'kinds').text)
  choose(browser, digit)
  assert 'does not answer' in find(browser, 'error').text
  browser.get_log('browser')  # That, too, the browser notes.
