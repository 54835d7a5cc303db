"""The address of the repository, from [project.urls] of pyproject.toml. README.md's badges repeat it.

This is where to change it: ``python -m site_build --address https://github.com/OWNER/NAME``.
"""

import os
import re
import tomllib
from urllib.parse import quote

from site_build import ROOT, SiteError

FORM = re.compile(r"https://github\.com/[A-Za-z0-9][A-Za-z0-9-]*/(?![-.]*$)[A-Za-z0-9._-]+(?<!\.git)")
BADGES = re.compile(r"<!-- badges -->\n.*?<!-- /badges -->\n\n?", re.S)


def repository():
    """The address, such as https://github.com/OWNER/minilstm; MINILSTM_REPOSITORY overrides it for one build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = os.environ.get("MINILSTM_REPOSITORY") or project["urls"]["Repository"]
    if not FORM.fullmatch(address):
        raise SiteError(f"the repository's address is {address!r}, expected https://github.com/OWNER/NAME")
    return address


def owner_and_name():
    """The two last parts of the address: "OWNER/minilstm"."""
    return repository().removeprefix("https://github.com/")


def site_address():
    """Where GitHub Pages puts the site."""
    owner, name = owner_and_name().split("/")
    host = f"{owner.lower()}.github.io"  # a repository of this name is the owner's own site
    return f"https://{host}/" + ("" if name.lower() == host else f"{name}/")


def lesson_buttons(notebook):
    """The buttons of a lesson: {label: address}; the first is relative to the folder of the lessons' pages."""
    path = quote(f"lessons/{notebook}")
    return {
        "Run in the browser": f"../run/notebooks/index.html?path={quote(notebook)}",
        "Colab": f"https://colab.research.google.com/github/{owner_and_name()}/blob/main/{path}",
        "Binder": f"https://mybinder.org/v2/gh/{owner_and_name()}/main?labpath={quote(path, safe='')}",
        "Source": f"{repository()}/blob/main/{path}",
    }


def readme_badges():
    """The block of badges in README.md."""
    actions = f"{repository()}/actions/workflows"
    first = "lessons/02_softmax_and_cross_entropy.ipynb"
    badges = (
        ("tests", f"{actions}/tests.yml/badge.svg", f"{actions}/tests.yml"),
        ("web site", "https://img.shields.io/badge/course-web%20site-0072B2", site_address()),
        ("Colab", "https://colab.research.google.com/assets/colab-badge.svg",
         f"https://colab.research.google.com/github/{owner_and_name()}/blob/main/{first}"),
        ("Binder", "https://mybinder.org/badge_logo.svg",
         f"https://mybinder.org/v2/gh/{owner_and_name()}/main?labpath=lessons"),
    )  # fmt: skip
    lines = "\n".join(f"[![{name}]({picture})]({link})" for name, picture, link in badges)
    return f"<!-- badges -->\n{lines}\n<!-- /badges -->\n\n"


def set_address(address):
    """Write another address of the repository into pyproject.toml, and its badges into README.md."""
    if not FORM.fullmatch(address):
        raise SiteError(f"{address!r} is no address of a repository, expected https://github.com/OWNER/NAME")
    os.environ.pop("MINILSTM_REPOSITORY", None)
    pyproject, readme = ROOT / "pyproject.toml", ROOT / "README.md"
    pyproject.write_text(pyproject.read_text(encoding="utf-8").replace(repository(), address), encoding="utf-8")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(BADGES.sub(lambda _: readme_badges(), text, count=1), encoding="utf-8")
