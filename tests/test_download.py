"""The download from a real HTTP server on localhost."""

import functools
import gzip
import hashlib
import http.server
import io
import random
import tarfile
import threading
from contextlib import suppress

import pytest

from minilstm import cli
from minilstm.errors import UserError
from minilstm.text.download import SHA256, download_ptb

CONTENTS = {name: f"the text of {name}\n".encode() * 1000 for name in SHA256}
CHECKSUMS = {name: hashlib.sha256(contents).hexdigest() for name, contents in CONTENTS.items()}


@pytest.fixture
def site(tmp_path):
    """A server of tmp_path/site: the files under files/, and the archive as simple-examples.tgz."""
    root = tmp_path / "site"
    (root / "files").mkdir(parents=True)
    with tarfile.open(root / "simple-examples.tgz", "w:gz") as tar:
        for name, contents in CONTENTS.items():
            (root / "files" / name).write_bytes(contents)
            member = tarfile.TarInfo(f"./simple-examples/data/{name}")
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
        evil = tarfile.TarInfo("../../evil.txt")
        evil.size = 4
        tar.addfile(evil, io.BytesIO(b"evil"))
    handler = functools.partial(QuietHandler, directory=root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", root
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files; elsewhere/ redirects to another scheme, loop/ to itself, and truncated/ sends half of a file."""

    def do_GET(self):
        folder, _, name = self.path[1:].partition("/")
        if folder == "elsewhere":
            self.redirect(f"file://{self.directory}/files/{name}")
        elif folder == "loop":
            self.redirect(self.path)
        elif folder == "truncated":
            contents = CONTENTS.get(name, bytes(100))
            self.send_response(200)
            self.send_header("Content-Length", str(len(contents)))
            self.end_headers()
            self.wfile.write(contents[: len(contents) // 2])
        else:
            super().do_GET()

    def redirect(self, location):
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def assert_complete(directory):
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENTS


@pytest.mark.parametrize("source", ["files/", "simple-examples.tgz"])
def test_either_source_provides_the_files(site, tmp_path, source):
    assert download_ptb(tmp_path / "ptb", [site[0] + source], CHECKSUMS) == site[0] + source
    assert_complete(tmp_path / "ptb")
    assert not list(tmp_path.rglob("evil.txt"))


def test_the_next_source_is_tried_if_one_fails(site, tmp_path):
    (site[1] / "files/ptb.valid.txt").write_bytes(b"changed")
    sources = [site[0] + "missing/", site[0] + "files/", site[0] + "simple-examples.tgz"]
    assert download_ptb(tmp_path / "ptb", sources, CHECKSUMS).endswith(".tgz")
    assert_complete(tmp_path / "ptb")


def test_existing_files_are_neither_fetched_again_nor_overwritten(tmp_path):
    directory = tmp_path / "ptb"
    directory.mkdir()
    for name, contents in CONTENTS.items():
        (directory / name).write_bytes(contents)
    assert download_ptb(directory, [], CHECKSUMS) == ""
    (directory / "ptb.valid.txt").write_bytes(b"my own")
    with pytest.raises(UserError, match=r"ptb.valid.txt exists with other contents"):
        download_ptb(directory, [], CHECKSUMS)
    assert (directory / "ptb.valid.txt").read_bytes() == b"my own"


def test_wrong_checksums_and_truncated_archives_leave_nothing(site, tmp_path):
    wrong = dict.fromkeys(CHECKSUMS, "0" * 64)
    archive = site[1] / "simple-examples.tgz"
    archive.write_bytes(archive.read_bytes()[:200])
    for checksums, source in ((wrong, "files/"), (CHECKSUMS, "simple-examples.tgz")):
        with pytest.raises(UserError, match="could not fetch the corpus") as error:
            download_ptb(tmp_path / "ptb", [site[0] + source], checksums)
        assert "\n" not in str(error.value)
        assert list((tmp_path / "ptb").iterdir()) == []


@pytest.mark.parametrize("folder", ["elsewhere/", "loop/", "truncated/", "truncated/archive.tgz"])
def test_redirected_and_truncated_transfers_leave_nothing(site, tmp_path, folder):
    with pytest.raises(UserError, match="could not fetch the corpus") as error:
        download_ptb(tmp_path / "ptb", [site[0] + folder], CHECKSUMS)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "ptb").iterdir()) == []


def hostile_members():
    """Archive members with paths outside the directory, and members that are not regular files."""
    for name in ("../../data/ptb.train.txt", "/tmp/minilstm-evil/data/ptb.valid.txt", "x/data/../../ptb.test.txt"):
        yield tarfile.TarInfo(name), CONTENTS["ptb.train.txt"]
    for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../../x"), (tarfile.FIFOTYPE, "")):
        member = tarfile.TarInfo("x/data/ptb.train.txt")
        member.type, member.linkname = kind, target
        yield member, b""


def test_no_archive_writes_outside_the_directory(site, tmp_path):
    everything = {path for path in tmp_path.rglob("*") if "ptb" not in path.parts}
    for member, contents in hostile_members():
        with tarfile.open(site[1] / "evil.tgz", "w:gz") as tar:
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
        with pytest.raises(UserError, match="could not fetch the corpus"):
            download_ptb(tmp_path / "ptb", [site[0] + "evil.tgz"], CHECKSUMS)
        assert list((tmp_path / "ptb").iterdir()) == []
    (site[1] / "evil.tgz").unlink()
    assert {path for path in tmp_path.rglob("*") if "ptb" not in path.parts} == everything


def test_a_decompression_bomb_is_refused(site, tmp_path, monkeypatch):
    monkeypatch.setattr("minilstm.text.download.MAX_UNPACKED_BYTES", 2**22)
    (site[1] / "bomb.tgz").write_bytes(gzip.compress(bytes(2**24)))
    with pytest.raises(UserError, match="unpacks to over"):
        download_ptb(tmp_path / "ptb", [site[0] + "bomb.tgz"], CHECKSUMS)
    assert list((tmp_path / "ptb").iterdir()) == []


def test_mutated_archives_yield_the_right_files_or_nothing(site, tmp_path):
    rng, whole = random.Random(0), gzip.decompress((site[1] / "simple-examples.tgz").read_bytes())
    for n in range(60):
        changed = bytearray(whole)
        for _ in range(3):
            changed[rng.randrange(512) + 512 * rng.choice((0, 0, 20))] = rng.randrange(256)
        packed = bytearray(gzip.compress(changed, 1))
        if n % 4 == 0:
            packed[rng.randrange(len(packed))] ^= 255
        (site[1] / "changed.tgz").write_bytes(packed)
        with suppress(UserError):
            download_ptb(tmp_path / f"ptb{n}", [site[0] + "changed.tgz"], CHECKSUMS)
        if any((tmp_path / f"ptb{n}").iterdir()):
            assert_complete(tmp_path / f"ptb{n}")


def test_without_a_network_there_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    closed = "http://127.0.0.1:9/"  # no server listens there
    monkeypatch.setattr("minilstm.text.download.download_ptb.__defaults__", ((closed, closed + "a.tgz"), CHECKSUMS))
    assert cli.main(["download", "ptb", "--out", str(tmp_path / "ptb")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "check the network" in captured.err


def test_an_unwritable_directory_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        download_ptb(tmp_path / "file" / "ptb", ["http://127.0.0.1:9/"], CHECKSUMS)
