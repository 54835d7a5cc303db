"""The pages of the built web site in a headless Chromium, skipped where there is none.

Lessons themselves are not run: NumPy for WebAssembly is in no package registry. A kernel's start needs none of it.
"""

import re
import subprocess
from urllib.parse import quote

import pytest
from site_tools import CDN, CHROMIUM, FLAGS, answer_with, pyodide_files, served, watch

from site_build import ROOT, SiteError

LESSON = next((ROOT / "lessons").glob("02_*.ipynb")).name
SIZES = ((1280, 900, "light"), (1280, 900, "dark"), (390, 800, "light"), (390, 800, "dark"))
DEAD = 180_000  # ms after which a kernel is taken for dead


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[site]"')
    with playwright.sync_playwright() as tools:
        running = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def address(built):
    """The built site on this machine."""
    with served(built) as address:
        yield address


def page_names(built, everything):
    """The pages of the site; without `everything`, those of the reference's modules and of the sources are left out."""
    names = sorted(path.relative_to(built).as_posix() for path in built.rglob("*.html"))
    return [name for name in names if not re.match("run/" if everything else "run/|_modules/|api/m", name)]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_each_page_opens_without_error_and_without_the_outside(built, browser, address, width, height, scheme):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    seen = watch(page, address)
    for name in page_names(built, everything=(width, scheme) == (390, "light")):
        page.goto(address + name)
        assert seen == [], name
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
    context.close()


@pytest.mark.slow
def test_search_finds_a_function(browser, address):
    page = browser.new_page()
    page.goto(f"{address}search.html?q=lstm_backward")
    page.wait_for_selector("ul.search a")
    links = page.eval_on_selector_all("ul.search a", "links => links.map(link => link.href)")
    assert f"{address}api/minilstm.layers.lstm.html#minilstm.layers.lstm.lstm_backward" in links


@pytest.mark.slow
def test_a_word_is_guessed_on_the_front_page(browser, address):
    page = browser.new_page()
    page.goto(address)
    for word, answer in (("steer", "Impossible"), ("lamp", "The model has forgotten it"), ("dreams", "only “dream”")):
        page.click(f'.guess-words button:text-is("{word}")')
        assert answer in page.inner_text(".guess-answer")
        page.click(".guess-answer button")


@pytest.mark.slow
def test_the_kernel_starts_and_installs_our_wheel(browser, address, tmp_path):
    try:
        files = pyodide_files(tmp_path)
    except (SiteError, subprocess.CalledProcessError) as error:
        pytest.skip(f"Pyodide cannot be fetched: {error}")
    code = "%pip install -q --no-deps minilstm\nimport importlib.metadata as m; print('found', m.version('minilstm'))"
    context = browser.new_context()
    context.route(f"{CDN}**", answer_with(files))
    page = context.new_page()
    page.goto(f"{address}run/notebooks/index.html?path={LESSON}")
    page.locator(".jp-CodeCell .cm-content").first.click()  # in the cell that installs
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("print(6 * 7)")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".jp-OutputArea-output :text-is('42')", timeout=DEAD)
    page.goto(f"{address}run/repl/index.html?kernel=python&code={quote(code)}")
    page.wait_for_selector(".jp-OutputArea-output :text('found 0.')", timeout=DEAD)
    context.close()
