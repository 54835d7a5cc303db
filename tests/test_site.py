"""The built web site: its structure, its links, and what the command refuses."""

import json
import re
from html import unescape

import pytest
from site_tools import run_site_build

from site_build import ROOT, SiteError
from site_build.address import readme_badges
from site_build.links import problems_of
from site_build.staging import PAGES, mend_links

LESSONS = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))


def read(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_page_is_there_and_no_link_is_dead(built):
    pages = [page.replace(".md", ".html") for page in PAGES.values()]
    pages += [f"lessons/{stem}.html" for stem in LESSONS] + ["api/index.html", "api/minilstm.layers.lstm.html"]
    assert [page for page in pages if not (built / page).is_file()] == []
    assert problems_of(built) == []


@pytest.mark.slow
def test_maths_is_in_the_pages_already(built):
    for stem in LESSONS:
        text = read(built / f"lessons/{stem}.html")
        assert "katex-error" not in text
        assert "MathJax" not in text
    text = read(built / "lessons/02_softmax_and_cross_entropy.html")
    assert text.count('class="katex-display"') >= 3
    assert "\\frac" not in re.sub(r"<annotation.*?</annotation>", "", text, flags=re.S)


@pytest.mark.slow
def test_buttons_of_a_lesson_lead_to_its_notebook(built):
    for stem in LESSONS:
        [row] = re.findall(r'<div class="lesson-buttons">(.*?)</div>', read(built / f"lessons/{stem}.html"), re.S)
        links = {label: unescape(link) for link, label in re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', row)}
        assert list(links) == ["Run in the browser", "Colab", "Binder", "Source"]
        assert links["Run in the browser"] == f"../run/notebooks/index.html?path={stem}.ipynb"
        assert all(f"{stem}.ipynb" in link for link in links.values())
        ours, there = read(ROOT / f"lessons/{stem}.ipynb"), read(built / f"run/files/{stem}.ipynb")
        assert code_of(there) == code_of(ours)
        assert "](../" not in "".join(markdown_of(there))
        linked = re.findall(r"\]\((?!https://)([^)#]+)\)", "".join(markdown_of(there)))
        assert [name for name in linked if not (built / "run/files" / name).is_file()] == []


def code_of(notebook):
    """The code of a notebook and its outputs."""
    cells = json.loads(notebook)["cells"]
    return [("".join(cell["source"]), cell["outputs"]) for cell in cells if cell["cell_type"] == "code"]


def markdown_of(notebook):
    """The texts of a notebook's Markdown cells."""
    cells = json.loads(notebook)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


@pytest.mark.slow
def test_pictures_have_a_text(built):
    for stem in LESSONS:
        pictures = re.findall(r"<img [^>]*>", read(built / f"lessons/{stem}.html"))
        texts = [re.search(r"""alt=("[^"]*"|'[^']*')""", picture)[1][1:-1] for picture in pictures]
        assert any(text.startswith("Picture in") for text in texts)
        assert [text for text in texts if not text or text.endswith((".png", ".svg"))] == [], stem


@pytest.mark.slow
def test_the_browsers_package_index_has_our_wheel(built):
    index = json.loads(read(built / "run/pypi/all.json"))
    assert set(index) == {"comm", "minilstm"}
    for name in index:
        [[file]] = index[name]["releases"].values()
        assert (built / "run/pypi" / file["filename"]).is_file()


@pytest.mark.slow
def test_functions_of_the_package_link_to_their_reference(built):
    for stem in LESSONS:
        text = read(built / f"lessons/{stem}.html")
        cells = json.loads(read(ROOT / f"lessons/{stem}.ipynb"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        imports = re.findall(r"^from (minilstm[\w.]*) import \(?([^()]*?)\)?$", code, re.M)
        names = [(module, name) for module, found in imports for name in re.findall(r"[a-z]\w+(?= as |,|\n|$)", found)]
        assert names
        documented = [(m, n) for m, n in names if f'id="{m}.{n}"' in read_reference(built, m)]
        assert len(documented) >= len(names) / 2
        assert [name for name in documented if f'{name[0]}.html#{".".join(name)}"' not in text] == []


def read_reference(built, module):
    page = built / f"api/{module}.html"
    return read(page) if page.exists() else ""


@pytest.mark.slow
def test_an_older_site_is_replaced_and_any_other_folder_is_not(built, tmp_path):
    (tmp_path / "letter.txt").write_text("dear aunt")
    done = run_site_build("-o", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"site_build: {tmp_path} exists and is no site of this command; choose another folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_missing_tool_is_one_line(tmp_path):
    done = run_site_build("-o", tmp_path / "site", options=["-S"])  # without installed packages
    assert done.returncode == 2
    assert done.stderr.startswith("site_build: sphinx, ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    "args",
    [
        *(("--address", address) for address in ("https://example.org/a/b", "github.com/a/b", "", "https://github.com/../a",
                                                 "https://github.com/a/b.git", "https://github.com/a/-")),
        ("--adress",),
        ("-o", ROOT / "site/out"),
    ],
)  # fmt: skip
def test_a_mistaken_command_is_one_line(args):
    done = run_site_build(*args)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_workflows_are_whole():
    yaml = pytest.importorskip("yaml", reason='no yaml: pip install -e ".[site]"')
    if not (ROOT / ".github").is_dir():
        pytest.skip("this is the source distribution, which has no workflows")
    paths = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert [path.stem for path in paths] == ["pages", "release", "tests"]
    for path in paths:
        workflow = yaml.safe_load(read(path))
        assert workflow[True]  # YAML's reading of "on"
        for job in workflow["jobs"].values():
            assert job["runs-on"]
            assert all(("uses" in step) != ("run" in step) for step in job["steps"])
            assert set(job.get("needs", "").split()) <= set(workflow["jobs"])


def test_the_badges_follow_the_one_address(monkeypatch):
    monkeypatch.delenv("MINILSTM_REPOSITORY", raising=False)
    assert readme_badges().strip() in read(ROOT / "README.md")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](SECURITY.md#x)", "[a](security.md#x)"),
        ("[`a`](lessons/README.md)", "[`a`](lessons/index.md)"),
        ("[a](minilstm/layers/lstm.py)", '<a href="_modules/minilstm/layers/lstm.html">a</a>'),
        ("[a](pyproject.toml)", "[a](https://github.com/o/n/blob/main/pyproject.toml)"),
        ("`[a](nothing)`, [b](https://x.org)", "`[a](nothing)`, [b](https://x.org)"),
        (
            "```sh\n[a](nothing)\n```\n[a](tests)",
            "```sh\n[a](nothing)\n```\n[a](https://github.com/o/n/tree/main/tests)",
        ),
    ],
)
def test_links_are_those_of_the_site(text, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("MINILSTM_REPOSITORY", "https://github.com/o/n")
    assert mend_links(text, "README.md", "index.md", PAGES, tmp_path) == expected


def test_a_link_to_nothing_stops_the_build(tmp_path):
    with pytest.raises(SiteError, match=r"^README\.md: there is nothing at minilstm/layer/lstm\.py$"):
        mend_links("[a](minilstm/layer/lstm.py)", "README.md", "index.md", PAGES, tmp_path)


def test_the_link_check_finds_each_kind(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here">1</a><a href="#there">2</a><a href="b.html">3</a><a href="a.html#here">4</a>'
        '<script src="https://x.org/s.js"></script><a href="http://x.org">5</a><img src="c.png">'
    )
    (tmp_path / "a.css").write_text("p { background: url(a.html) } b { background: url('//x.org/d.png') }")
    assert problems_of(tmp_path) == [
        "a.html: loads https://x.org/s.js from outside",
        "a.html: #there: the page has no such place",
        "a.html: b.html leads to nothing",
        "a.html: http://x.org is not https",
        "a.html: c.png leads to nothing",
        "a.css: loads //x.org/d.png from outside",
    ]


def test_maths_that_was_not_set_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p>so $x_1$</p><code>$HOME \\alpha</code><p>a \\odot b</p><span class="katex-error" title="KaTeX: x">f</span>'
        '<math><annotation>\\frac</annotation></math><span style="color:#cc0000">g</span>'
    )
    assert problems_of(tmp_path) == [
        "a.html: broken maths: so $x_1$",
        "a.html: broken maths: a \\odot b",
        "a.html: broken maths: KaTeX: x",
        "a.html: broken maths: an unknown command",
    ]
