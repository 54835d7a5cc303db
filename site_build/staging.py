"""Lay out what Sphinx reads: pages and notebooks with their links mended, pictures, the API's pages, the front page.

A link to a page stays one. A picture is copied. A Python file of the package becomes a link to its page of source, any
other file of the repository a link to the repository. A link to nothing stops the build.
"""

import json
import re
import shutil
from os.path import relpath
from pathlib import Path, PurePosixPath

from site_build import ROOT, SiteError
from site_build.address import BADGES, lesson_buttons, repository, site_address
from site_build.front import front_page
from site_build.reference import MODULES, write_reference

PAGES = {  # in the repository -> in the site
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "lessons/README.md": "lessons/index.md",
    "lessons/TEACHING.md": "lessons/teaching.md",
}
PICTURES = {".png", ".svg", ".jpg", ".gif"}
LABEL = re.compile(r'(?:title|label|set_xlabel|set_ylabel)[=(]\s*f?"([^"]+)"')
NOT_FOUND = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>minilstm: no such page</title>
<meta name="viewport" content="width=device-width"></head><body style="font: 1.2rem/1.5 sans-serif; margin: 3rem">
<h1>There is no such page.</h1><p><a href="{}">minilstm: the front page, with the lessons and a search</a></p>
</body></html>
"""
FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)$)", re.S | re.M)
LINK = re.compile(  # a picture may be the text of a link; in `code` there is none
    r"(?P<code>`+[^`]+`+)|(?P<picture>!?)\[(?P<text>(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\((?P<target>[^)\s]+)\)"
)


def stage(folder):
    """Write everything that Sphinx reads into a folder."""
    shutil.copytree(ROOT / "site", folder, dirs_exist_ok=True)
    notebooks = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))
    pages = PAGES | {f"lessons/{path.name}": f"lessons/{path.name}" for path in notebooks}
    (folder / "lessons").mkdir(exist_ok=True)
    titles = {path.stem: stage_notebook(path, pages, folder) for path in notebooks}
    for source, page in PAGES.items():
        text = BADGES.sub("", (ROOT / source).read_text(encoding="utf-8"))
        text = mend_links(text, source, page, pages, folder)
        if page == "index.md":
            text = front_page(text)
        if page == "lessons/index.md":
            text += contents([f"{title} <{stem}>" for stem, title in titles.items()])
        (folder / page).write_text(text, encoding="utf-8")
    write_reference(folder)
    (folder / "extra").mkdir()
    (folder / "extra/404.html").write_text(NOT_FOUND.format(site_address()), encoding="utf-8")


def contents(entries):
    """A hidden table of contents: the navigation at the side."""
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(entries) + "\n```\n"


def stage_notebook(path, pages, folder):
    """Stage one lesson; returns its title for the navigation, such as "2. Softmax and cross-entropy"."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    name = f"lessons/{path.name}"
    heading = ""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = mend_links(source, name, name, pages, folder)
            heading = next(iter(re.findall(r"^#+ (.+)$", source, re.M)[::-1]), heading)
        elif "%pip install" in source:  # of no use to readers of the page
            cell["metadata"].setdefault("tags", []).append("remove-cell")
        else:
            cell["metadata"]["mystnb"] = {"image": {"alt": description(heading, source)}}
    title, _, rest = "".join(notebook["cells"][0]["source"]).partition("\n")
    found = re.fullmatch(r"# Lesson (\d+)\. (.+)", title)
    if not found:
        raise SiteError(f"{name}: the first line is {title!r}, expected '# Lesson N. Title'")
    notebook["cells"][0]["source"] = f"{title}\n\n{button_row(path.name)}\n{rest}"
    notebook["metadata"]["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    (folder / name).write_text(json.dumps(notebook), encoding="utf-8")
    return f"{found[1]}. {found[2]}"


def description(heading, code):
    """What is read in place of a cell's picture: the section's heading, titles and labels in the code that draws it.

    >>> description("1. Slopes", 'axes.set(xlabel="step $h$", title=f"{count} slopes")')
    'Picture in "1. Slopes": step h; … slopes'
    """
    labels = [re.sub(r"\{.*?\}", "…", label.replace("\\n", " ")).replace("$", "") for label in LABEL.findall(code)]
    return f'Picture in "{heading}"' + (": " + "; ".join(dict.fromkeys(labels)) if labels else "")


def button_row(notebook):
    """The row of buttons under a lesson's title, in HTML."""
    links = [f'<a href="{address}">{label}</a>' for label, address in lesson_buttons(notebook).items()]
    links[0] = links[0].replace("<a ", '<a title="Python and NumPy come from Pyodide\'s server: a network is needed" ')
    return f'<div class="lesson-buttons">{"".join(links)}</div>\n'


def mend_links(text, source, page, pages, folder):
    """The Markdown of a file, its links turned into those of the site; code is left as it is.

    `source` and `page` are its place in the repository and in the site.
    """

    def mend(match):
        if match["code"]:
            return match[0]
        inner = LINK.sub(mend, match["text"])
        target, mark, fragment = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return f"{match['picture']}[{inner}]({match['target']})"
        kind, there = place_of(target, source, pages, folder)
        address = there if kind == "repository" else relpath(there, PurePosixPath(page).parent.as_posix() or ".")
        if kind == "source":  # Sphinx does not know these pages before they are written
            return f'<a href="{address}{mark}{fragment}">{inner}</a>'
        return f"{match['picture']}[{inner}]({address}{mark}{fragment})"

    parts = FENCE.split(text)  # text, block of code, text, ...
    return "".join(part if i % 2 else LINK.sub(mend, part) for i, part in enumerate(parts))


def place_of(target, source, pages, folder):
    """What a relative link leads to: (kind, path in the site, or address); pictures are copied on the way.

    Raises
    ------
    SiteError
        If there is no such file.
    """
    path = Path(ROOT / source).parent.joinpath(target).resolve()
    if not path.exists() or not path.is_relative_to(ROOT):
        raise SiteError(f"{source}: there is nothing at {target}")
    name = path.relative_to(ROOT).as_posix()
    if name in pages:
        return "page", pages[name]
    if path.suffix in PICTURES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
        return "picture", name
    if name in MODULES:
        return "source", f"_modules/{MODULES[name].replace('.', '/')}.html"
    return "repository", f"{repository()}/{'tree' if path.is_dir() else 'blob'}/main/{name}"
