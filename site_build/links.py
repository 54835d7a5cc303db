"""Check every link of the built site: pages, places in pages, pictures, style sheets, scripts; and the maths.

Nothing may be loaded from outside; links that lead outside are only looked at, not followed. A formula that KaTeX could
not set, or that Markdown did not take for one, stands in the page as an error or as TeX.
"""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

LOADING = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src", "video": "src"}
QUIET_LINKS = {"canonical", "search", "index", "next", "prev", "author", "copyright"}  # <link rel=...> loads nothing
NO_PROSE = {"script", "style", "code", "pre", "math", "textarea", "title"}
TEX = re.compile(r"\$|\\[A-Za-z]{2,}")
KATEX_ERROR = re.compile(r"katex-error|color:\s*#cc0000")
STYLE_URL = re.compile(r"url\(\s*[\"']?([^\"')]+)[\"']?\s*\)|@import\s+[\"']([^\"']+)")


class Page(HTMLParser):
    """What a page of HTML links to, what it loads, its anchors, and the TeX that is left in its text."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.tex, self.inside = [], []  # inside: the open tags of NO_PROSE
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href") is not None:
            self.links.append(values["href"])
        address = values.get(LOADING.get(tag, ""))
        if address and not (tag == "link" and values.get("rel") in QUIET_LINKS):
            self.loads.append(address)
        self.loads += style_urls(values.get("style") or "")
        if KATEX_ERROR.search(f"{values.get('class')} {values.get('style')}"):
            self.tex.append(values.get("title") or "an unknown command")
        if tag in NO_PROSE:
            self.inside.append(tag)

    def handle_data(self, data):
        if "style" in self.inside:
            self.loads += style_urls(data)
        if not self.inside and TEX.search(data):
            self.tex.append(" ".join(data.split())[:100])

    def handle_endtag(self, tag):
        if tag in self.inside:
            del self.inside[self.inside.index(tag) :]


def style_urls(text):
    """What a style sheet loads."""
    return [first or second for first, second in STYLE_URL.findall(text)]


def problems_of(site, skip=("run",)):
    """Dead links, loads from outside and broken maths in a built site, one line each.

    Folders in `skip` are other people's pages.
    """
    files = [path for path in sorted(site.rglob("*")) if path.relative_to(site).parts[0] not in skip]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in files if path.suffix == ".html"}
    problems = []
    for path, page in pages.items():
        name = path.relative_to(site)
        problems += [f"{name}: loads {url} from outside" for url in page.loads if is_outside(url)]
        problems += [f"{name}: broken maths: {text}" for text in page.tex]
        for link in [*page.links, *page.loads]:
            if problem := problem_of(link, path, site, pages):
                problems.append(f"{name}: {problem}")
    for path in files:
        if path.suffix == ".css":
            for url in style_urls(path.read_text(encoding="utf-8")):
                problem = f"loads {url} from outside" if is_outside(url) else problem_of(url, path, site, pages)
                if problem:
                    problems.append(f"{path.relative_to(site)}: {problem}")
    return problems


def is_outside(link):
    """Whether a browser asks another machine for it."""
    return bool(urlsplit(link).netloc) or urlsplit(link).scheme in ("http", "https")


def problem_of(link, path, site, pages):
    """What is wrong with a link on a page, or None."""
    parts = urlsplit(link)
    if parts.scheme in ("data", "mailto", "javascript"):
        return None
    if is_outside(link):
        return None if parts.scheme == "https" else f"{link} is not https"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        return f"{link} leads to nothing"
    known = pages.get(site / target.relative_to(site.resolve()))
    if parts.fragment and known and unquote(parts.fragment) not in known.anchors:
        return f"{link}: the page has no such place"
    return None
