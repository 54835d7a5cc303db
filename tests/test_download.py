"""The download, against a real HTTP server on this machine."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from minilstm import cli
from minilstm.download import SHA256, download_ptb
from minilstm.errors import UserError

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
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", root
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def assert_complete(directory):
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENTS


@pytest.mark.parametrize("source", ["files/", "simple-examples.tgz"])
def test_either_source_gives_the_files(site, tmp_path, source):
    assert download_ptb(tmp_path / "ptb", [site[0] + source], CHECKSUMS) == site[0] + source
    assert_complete(tmp_path / "ptb")
    assert not list(tmp_path.rglob("evil.txt"))


def test_sources_stand_in_for_each_other(site, tmp_path):
    (site[1] / "files/ptb.valid.txt").write_bytes(b"changed")
    sources = [site[0] + "missing/", site[0] + "files/", site[0] + "simple-examples.tgz"]
    assert download_ptb(tmp_path / "ptb", sources, CHECKSUMS).endswith(".tgz")
    assert_complete(tmp_path / "ptb")


def test_what_is_there_is_neither_fetched_again_nor_overwritten(tmp_path):
    directory = tmp_path / "ptb"
    directory.mkdir()
    for name, contents in CONTENTS.items():
        (directory / name).write_bytes(contents)
    assert download_ptb(directory, [], CHECKSUMS) == ""
    (directory / "ptb.valid.txt").write_bytes(b"my own")
    with pytest.raises(UserError, match=r"ptb.valid.txt is there with other contents"):
        download_ptb(directory, [], CHECKSUMS)
    assert (directory / "ptb.valid.txt").read_bytes() == b"my own"


def test_wrong_checksums_and_cut_archives_leave_nothing(site, tmp_path):
    wrong = dict.fromkeys(CHECKSUMS, "0" * 64)
    archive = site[1] / "simple-examples.tgz"
    archive.write_bytes(archive.read_bytes()[:200])
    for checksums, source in ((wrong, "files/"), (CHECKSUMS, "simple-examples.tgz")):
        with pytest.raises(UserError, match="could not fetch the corpus") as error:
            download_ptb(tmp_path / "ptb", [site[0] + source], checksums)
        assert "\n" not in str(error.value)
        assert list((tmp_path / "ptb").iterdir()) == []


def test_no_network_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    closed = "http://127.0.0.1:9/"  # nobody listens there
    monkeypatch.setattr("minilstm.download.download_ptb.__defaults__", ((closed, closed + "a.tgz"), CHECKSUMS))
    assert cli.main(["download", "ptb", "--out", str(tmp_path / "ptb")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "check the network" in captured.err


def test_a_directory_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        download_ptb(tmp_path / "file" / "ptb", ["http://127.0.0.1:9/"], CHECKSUMS)
