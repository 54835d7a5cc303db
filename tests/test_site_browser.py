"""The pages of the built web site in a headless Chromium, skipped where there is none.

The start of a kernel needs no NumPy. The lessons do, and no package registry has it for WebAssembly: they are run where
MINILSTM_PYODIDE names the folder of an unpacked release of Pyodide, which has NumPy, Matplotlib, safetensors and tqdm.
"""

import os
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from site_tools import CDN, CHROMIUM, FLAGS, answer_with, pyodide_files, served, watch

from site_build import ROOT, SiteError

LESSONS = sorted(path.name for path in (ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))
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
    return [name for name in names if not re.match("run/|404" if everything else "run/|404|_modules/|api/m", name)]


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
    for word, answer in (("dreams", "only “dream”"), ("lamp", "The model has forgotten it")):
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
    context.route(CDN, answer_with(files))
    page = context.new_page()
    page.goto(f"{address}run/notebooks/index.html?path={LESSONS[1]}")
    page.locator(".jp-CodeCell .cm-content").first.click()  # in the cell that installs
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("print(6 * 7)")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".jp-OutputArea-output :text-is('42')", timeout=DEAD)
    page.goto(f"{address}run/repl/index.html?kernel=python&code={quote(code)}")
    page.wait_for_selector(".jp-OutputArea-output :text('found 0.')", timeout=DEAD)
    context.close()


def expose(route):
    """Give Jupyter's commands and the notebook's cells to a test, also those out of sight."""
    settings = route.fetch().json()
    settings["jupyter-config-data"] |= {
        "exposeAppInBrowser": True,
        "settingsOverrides": {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}},
    }
    route.fulfill(json=settings)


@pytest.mark.slow
def test_a_link_in_a_notebook_opens_the_other_lesson(browser, address):
    context = browser.new_context()
    context.route("**/run/notebooks/jupyter-lite.json", expose)
    page = context.new_page()
    page.goto(f"{address}run/notebooks/index.html?path={LESSONS[1]}")
    with context.expect_page(timeout=DEAD) as opened:
        page.locator(f'.jp-MarkdownOutput a[href$="{LESSONS[2]}"]').last.click(timeout=DEAD)
    opened.value.wait_for_selector(".jp-MarkdownOutput h1:has-text('Lesson 3')", timeout=DEAD)
    context.close()


@pytest.fixture
def notebook(browser, address):
    """Opens a lesson in the browser's Jupyter and runs its first cell, which installs minilstm; returns the page."""
    if not (folder := os.environ.get("MINILSTM_PYODIDE")):
        pytest.skip("no NumPy for WebAssembly: MINILSTM_PYODIDE=<folder of an unpacked release of Pyodide>")
    assert Path(folder, "pyodide-lock.json").is_file(), f"MINILSTM_PYODIDE={folder} has no pyodide-lock.json"
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.route(CDN, answer_with(Path(folder)))
    context.route("**/run/notebooks/jupyter-lite.json", expose)

    def opened(lesson):
        page = context.new_page()
        page.goto(f"{address}run/notebooks/index.html?path={lesson}")
        page.wait_for_selector(".jp-CodeCell")
        page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready")
        run_cell(page, "%pip install")
        return page

    yield opened
    context.close()


def run_cell(page, text, code=None):
    """Run the code cell that contains `text`, with `code` in its place; returns what it prints."""
    cell = page.locator(".jp-CodeCell", has_text=text).first
    cell.locator(".cm-content").click()
    if code:
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(code)
        cell = page.locator(".jp-CodeCell.jp-mod-active")
    assert page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")  # waits for it
    return cell.locator(".jp-OutputArea").first.inner_text()


@pytest.mark.slow
def test_an_exercise_is_judged_in_the_browser(notebook):
    page = notebook(LESSONS[1])
    run_cell(page, "from collections import Counter")
    code = "def softmax(logits):\n    exps = np.exp(logits{})\n    return exps / exps.sum(axis={})\n\n\ncheck(softmax)"
    assert "✘ softmax is not right yet" in run_cell(page, "check(softmax)", code.format("", 0))
    right = code.format(" - logits.max(axis=1, keepdims=True)", "1, keepdims=True")
    assert "✔ softmax is right" in run_cell(page, "check(softmax)", right)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_in_the_browser_from_first_to_last_cell(notebook, lesson):
    begin = time.monotonic()
    page = notebook(lesson)
    ready = time.monotonic()
    assert page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    end = time.monotonic()
    print(f"{lesson}: minilstm installed after {ready - begin:.0f} s, the lesson run in {end - ready:.0f} s")
    cells = page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON().cells")
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [output["evalue"] for output in outputs if output["output_type"] == "error"] == []
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")
