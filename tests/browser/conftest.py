"""A headless Chromium, for each file of tests."""

import shutil

import pytest
from selenium import webdriver

_OPTIONS = (
  'headless',
  'no-sandbox',
  'disable-gpu',
  'disable-quic',
  'no-first-run',
  'disable-background-networking',
  'disable-component-update',
  'disable-sync',
)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  options = webdriver.ChromeOptions()
  options.binary_location = shutil.which('chromium')
  for option in _OPTIONS:
    options.add_argument(f'--{option}')
  profile = tmp_path_factory.mktemp('profile')
  options.add_argument(f'--user-data-dir={profile}')
  options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
  service = webdriver.ChromeService(shutil.which('chromedriver'))
  driver = webdriver.Chrome(options=options, service=service)
  yield driver
  driver.quit()
