"""What the tests of the web site need: the command, a server on this machine, a Chromium, and a Pyodide from npm."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PYODIDE = "314.0.6"
PYODIDE_SHA256 = "d78ac549b28a2a58600cd06f44e017024151775f8c6b2d73fab1475400d38ea2"
KERNEL = "micropip", "jedi", "ipython"  # that a kernel loads from Pyodide's server when it starts, with what they need
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def run_site_build(*args, options=()):
    """Run the command that builds the web site; returns its status and what it printed."""
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root, root / "lessons")))}
    command = [sys.executable, *options, "-m", "site_build", *map(str, args)]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


class Handler(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *args):
        pass


@contextmanager
def served(folder):
    """A folder on a port of this machine; yields its address, with a slash at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def watch(page, address):
    """The list that fills with a page's errors and with its requests to other machines."""
    seen = []
    page.on("console", lambda message: message.type == "error" and seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("response", lambda answer: answer.status >= 400 and seen.append(f"{answer.status}: {answer.url}"))
    page.on(
        "request", lambda ask: ask.url.startswith((address, "data:", "blob:")) or seen.append(f"asks for {ask.url}")
    )
    return seen


def pyodide_files(folder):
    """The files of Pyodide's server that a kernel needs to start: the core from npm, pure wheels from PyPI.

    Wheels compiled for WebAssembly, NumPy's among them, are in no registry. The lock file gets the checksums of the
    wheels as the package index has them.
    """
    from site_build.registry import fetch

    with tarfile.open(fetch(f"pyodide-{PYODIDE}.tgz", PYODIDE_SHA256)) as archive:
        archive.extractall(folder, filter="data")
    folder = folder / "package"
    lock = json.loads((folder / "pyodide-lock.json").read_text())
    wanted, waiting = {}, list(KERNEL)
    while waiting:
        name = waiting.pop().replace("_", "-")
        if name not in wanted:
            wanted[name] = lock["packages"][name]
            waiting += wanted[name]["depends"]
    pins = [f"{name}=={package['version']}" for name, package in wanted.items()]
    options = ["-q", "--no-deps", "--only-binary=:all:", "--python-version=3.14", "-d", folder]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, *pins], check=True)
    for package in wanted.values():
        package["sha256"] = hashlib.sha256((folder / package["file_name"]).read_bytes()).hexdigest()
    (folder / "pyodide-lock.json").write_text(json.dumps(lock))
    return folder


CDN = re.compile(r"https://cdn\.jsdelivr\.net/pyodide/v[^/]+/full/")  # where JupyterLite's kernel looks for Pyodide
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}


def answer_with(files):
    """Answer requests to Pyodide's server with the files of a folder; what is not there is "not found"."""

    def answer(route):
        path = files / CDN.sub("", route.request.url)
        headers = {
            "access-control-allow-origin": "*",
            "content-type": TYPES.get(path.suffix, "application/octet-stream"),
        }
        route.fulfill(
            status=200 if path.is_file() else 404, body=path.read_bytes() if path.is_file() else b"", headers=headers
        )

    return answer
