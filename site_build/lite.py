"""The lessons in the browser: JupyterLite with Python compiled to WebAssembly, and this package's wheel in its index.

The folder `run` of the site. The pages come from the site; Python, NumPy, Matplotlib and safetensors are loaded by the
reader's browser from Pyodide's server when a kernel starts, because no package registry has them for WebAssembly.
"""

import json
import re
import subprocess
import sys

from site_build import ROOT, SiteError
from site_build.address import repository, site_address

WHEELS = ("comm==0.2.3",)  # without it the kernel hangs offline; the rest of what it needs comes with Pyodide
TIME_LIMIT = 600  # seconds
SETTINGS = {"@jupyterlab/apputils-extension:themes": {"adaptive-theme": True}}  # dark where the reader's system is
NOTE = """

*This is the lesson in your browser. Click on the first cell of code and press Shift+Enter: Python starts, which loads
some 30 MB from Pyodide's server. If the cell's star has not become a number after a minute, there is no way to that
server; the pages of the site can be read without it. Outputs are those of the page until you run their cells. All
lessons are in [the course]({}).*
"""


def build_lite(work, output):
    """Build JupyterLite with the lessons and our wheel; `work` is a folder to work in."""
    wheels, lessons = work / "wheels", work / "notebooks"
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels], "our wheel cannot be built", ROOT)
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", wheels, *WHEELS],
        "pip cannot fetch the wheels for the browser", ROOT)  # fmt: skip
    lessons.mkdir()
    for path in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.ipynb")):
        (lessons / path.name).write_text(notebook_for_the_browser(path), encoding="utf-8")
    (work / "overrides.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    config = {
        "LiteBuildConfig": {
            "contents": [str(lessons)],
            "output_dir": str(output),
            "apps": ["notebooks", "lab", "repl", "tree"],
            "no_unused_shared_packages": True,
            "no_sourcemaps": True,
        },
        "PipliteAddon": {"piplite_urls": sorted(map(str, wheels.glob("*.whl")))},
    }
    (work / "jupyter_lite_config.json").write_text(json.dumps(config), encoding="utf-8")
    run([sys.executable, "-m", "jupyterlite_core", "build"], "JupyterLite cannot be built", work)


def notebook_for_the_browser(path):
    """A lesson with a note on how it runs there, no cell counted as run, and links that lead somewhere."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
        else:
            text = "".join(cell["source"])
            cell["source"] = re.sub(r"\]\(\.\./([^)]+)\)", rf"]({repository()}/blob/main/\1)", text)
    notebook["cells"][0]["source"] += NOTE.format(site_address() + "lessons/index.html")
    return json.dumps(notebook, ensure_ascii=False)


def run(command, failure, folder):
    """Run a program; a SiteError with its last line if it fails."""
    try:
        done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=TIME_LIMIT)
    except (OSError, subprocess.SubprocessError) as error:
        raise SiteError(f"{failure}: {error}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().split("\n")
        raise SiteError(f"{failure}: {lines[-1]}")
