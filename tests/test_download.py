"""The download from a real HTTP server on localhost."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import random
import signal
import tarfile
import threading
import time
import zlib
from contextlib import suppress

import pytest

import minilstm.text.download as download_module
from minilstm import cli
from minilstm.errors import UserError
from minilstm.text.download import download, unpack
from minilstm.text.published import CORPORA, Published

CONTENTS = {name: f"the text of {name}\n".encode() * 1000 for name in CORPORA["ptb"].checksums}
CHECKSUMS = {name: hashlib.sha256(contents).hexdigest() for name, contents in CONTENTS.items()}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server of tmp_path/site: the files under files/, and the archive as simple-examples.tgz."""
    monkeypatch.setattr("minilstm.text.download.SCHEME", "http://")  # this server has no certificate
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
    """Serves files, in ways named by the folder.

    elsewhere/ redirects to another scheme, secure/ to https, moved/ to files/, with a slow body, and loop/ to itself;
    truncated/ sends half of a file, drip/ a whole one in many small pieces, and continue/ after many times
    100 Continue; packed/ sends it compressed, and status/ an error that contains control characters.
    """

    def do_GET(self):
        folder, _, name = self.path[1:].partition("/")
        if folder == "elsewhere":
            self.redirect(f"file://{self.directory}/files/{name}")
        elif folder == "secure":
            self.redirect(f"https://{self.headers['Host']}/files/{name}")
        elif folder == "moved":
            self.redirect(f"/files/{name}", body=bytes(40))
        elif folder in ("drip", "continue"):
            self.send_slowly(folder, CONTENTS.get(name, bytes(100)))
        elif folder == "packed":
            packed = gzip.compress(CONTENTS[name])
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)
        elif folder == "status":
            self.send_response(404, "no \x1b[31m\rsuch")
            self.send_header("Content-Length", "0")
            self.end_headers()
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

    def send_slowly(self, folder, contents):
        """Send a file in about 4 seconds, never silent for longer than 0.1."""
        with suppress(OSError):  # of a client that has hung up
            for _ in range(40 if folder == "continue" else 0):
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.1)
            self.send_response(200)
            self.send_header("Content-Length", str(len(contents)))
            self.end_headers()
            if folder == "continue":
                self.wfile.write(contents)
            else:
                self.drip(contents)

    def drip(self, contents):
        """Send the contents in 40 pieces, one every 0.1 seconds."""
        size = -(-len(contents) // 40)
        with suppress(OSError):
            for start in range(0, len(contents), size):
                self.wfile.write(contents[start : start + size])
                time.sleep(0.1)

    def redirect(self, location, body=b""):
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.drip(body)

    def log_message(self, *_):
        pass


def assert_complete(directory):
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENTS


def assert_refused(directory, source, reason):
    """No files, and one printable line that contains the reason."""
    with pytest.raises(UserError, match="could not fetch the corpus") as error:
        download(directory, [source], CHECKSUMS)
    assert reason in str(error.value)
    assert str(error.value).isprintable()
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("source", ["files/", "moved/", "simple-examples.tgz"])
def test_either_source_provides_the_files(site, tmp_path, source):
    assert download(tmp_path / "ptb", [site[0] + source], CHECKSUMS) == site[0] + source
    assert_complete(tmp_path / "ptb")
    assert not list(tmp_path.rglob("evil.txt"))


def test_the_next_source_is_tried_if_one_fails(site, tmp_path):
    (site[1] / "files/ptb.valid.txt").write_bytes(b"changed")
    sources = [site[0] + "missing/", site[0] + "files/", site[0] + "simple-examples.tgz"]
    assert download(tmp_path / "ptb", sources, CHECKSUMS).endswith(".tgz")
    assert_complete(tmp_path / "ptb")


def test_existing_files_are_neither_fetched_again_nor_overwritten(tmp_path):
    directory = tmp_path / "ptb"
    directory.mkdir()
    for name, contents in CONTENTS.items():
        (directory / name).write_bytes(contents)
    assert download(directory, [], CHECKSUMS) == ""
    (directory / "ptb.valid.txt").write_bytes(b"my own")
    with pytest.raises(UserError, match=r"ptb.valid.txt exists with other contents"):
        download(directory, [], CHECKSUMS)
    assert (directory / "ptb.valid.txt").read_bytes() == b"my own"


def test_a_file_or_a_link_that_appears_during_the_download_is_not_replaced(site, tmp_path, monkeypatch):
    directory, unpack_archive = tmp_path / "ptb", download_module.unpack

    def unpack_slowly(archive, checksums, folder):
        unpack_archive(archive, checksums, folder)
        (directory / "ptb.valid.txt").write_bytes(b"my own")

    monkeypatch.setattr(download_module, "unpack", unpack_slowly)
    with pytest.raises(UserError, match=r"cannot write to .*: File exists"):
        download(directory, [site[0] + "simple-examples.tgz"], CHECKSUMS)
    assert (directory / "ptb.valid.txt").read_bytes() == b"my own"
    assert not list(directory.glob(".download-*"))
    (directory / "ptb.valid.txt").unlink()
    (directory / "ptb.valid.txt").symlink_to(tmp_path / "not mounted")
    with pytest.raises(UserError, match="cannot write to"):
        download(directory, [site[0] + "files/"], CHECKSUMS)
    assert (directory / "ptb.valid.txt").is_symlink()


@pytest.mark.parametrize("error", [PermissionError, None])
def test_a_file_system_without_links_takes_the_files_too(site, tmp_path, monkeypatch, error):
    def no_link(*paths):
        raise error

    if error:
        monkeypatch.setattr(os, "link", no_link)
    else:
        monkeypatch.delattr(os, "link")
    download(tmp_path / "ptb", [site[0] + "files/"], CHECKSUMS)
    assert_complete(tmp_path / "ptb")


def test_wrong_checksums_and_truncated_archives_leave_nothing(site, tmp_path):
    wrong = dict.fromkeys(CHECKSUMS, "0" * 64)
    archive = site[1] / "simple-examples.tgz"
    archive.write_bytes(archive.read_bytes()[:200])
    for checksums, source in ((wrong, "files/"), (CHECKSUMS, "simple-examples.tgz")):
        with pytest.raises(UserError, match="could not fetch the corpus") as error:
            download(tmp_path / "ptb", [site[0] + source], checksums)
        assert "\n" not in str(error.value)
        assert list((tmp_path / "ptb").iterdir()) == []


@pytest.mark.parametrize("folder", ["elsewhere/", "loop/", "truncated/", "truncated/archive.tgz"])
def test_redirected_and_truncated_transfers_leave_nothing(site, tmp_path, folder):
    with pytest.raises(UserError, match="could not fetch the corpus") as error:
        download(tmp_path / "ptb", [site[0] + folder], CHECKSUMS)
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
            download(tmp_path / "ptb", [site[0] + "evil.tgz"], CHECKSUMS)
        assert list((tmp_path / "ptb").iterdir()) == []
    (site[1] / "evil.tgz").unlink()
    assert {path for path in tmp_path.rglob("*") if "ptb" not in path.parts} == everything


def test_a_decompression_bomb_is_refused(site, tmp_path, monkeypatch):
    monkeypatch.setattr("minilstm.text.download.MAX_UNPACKED_BYTES", 2**22)
    (site[1] / "bomb.tgz").write_bytes(gzip.compress(bytes(2**24)))
    with pytest.raises(UserError, match="unpacks to over"):
        download(tmp_path / "ptb", [site[0] + "bomb.tgz"], CHECKSUMS)
    assert list((tmp_path / "ptb").iterdir()) == []


def test_every_source_is_https():
    assert all(source.startswith("https://") for corpus in CORPORA.values() for source in corpus.sources)


def test_only_https_is_fetched(site, tmp_path, monkeypatch):
    assert_refused(tmp_path / "ptb", site[0] + "secure/", "which alone is allowed")  # here only http is allowed
    monkeypatch.undo()
    requests = []
    monkeypatch.setattr(QuietHandler, "do_GET", lambda handler: requests.append(handler.path))
    for source in (site[0] + "files/", site[0].upper() + "a.tgz", f"file://{site[1]}/files/", "ftp://127.0.0.1/"):
        assert_refused(tmp_path / "ptb", source, "is not https://")
    assert requests == []


@pytest.mark.parametrize("source", ["drip/", "drip/a.tgz", "continue/", "continue/a.tgz"])
def test_a_server_that_keeps_sending_has_a_total_time(site, tmp_path, monkeypatch, source):
    monkeypatch.setattr("minilstm.text.download.MAX_SECONDS", 1)
    assert_refused(tmp_path / "ptb", site[0] + source, "not complete after 1 seconds")


def test_the_time_is_that_of_a_whole_source(site, tmp_path, monkeypatch):
    monkeypatch.setattr("minilstm.text.download.MAX_SECONDS", 6)  # each file takes about 4
    assert_refused(tmp_path / "ptb", site[0] + "drip/", "not complete after 6 seconds")


def test_the_next_source_has_its_own_time(site, tmp_path, monkeypatch):
    monkeypatch.setattr("minilstm.text.download.MAX_SECONDS", 3)
    assert download(tmp_path / "ptb", [site[0] + "continue/", site[0] + "files/"], CHECKSUMS).endswith("/files/")
    assert_complete(tmp_path / "ptb")


def test_the_body_of_a_redirect_is_not_read(site, tmp_path, monkeypatch):
    monkeypatch.setattr("minilstm.text.download.MAX_SECONDS", 3)  # each of the three bodies takes about 4
    download(tmp_path / "ptb", [site[0] + "moved/"], CHECKSUMS)
    assert_complete(tmp_path / "ptb")


def test_a_download_has_a_limit(site, tmp_path, monkeypatch):
    monkeypatch.setattr("minilstm.text.download.MAX_DOWNLOAD_BYTES", 10_000)
    for source in ("files/", "simple-examples.tgz"):
        (site[1] / "simple-examples.tgz").write_bytes(bytes(10_001))
        assert_refused(tmp_path / "ptb", site[0] + source, "the download is over 10,000 bytes")


def test_what_a_server_compresses_is_not_unpacked(site, tmp_path):
    assert_refused(tmp_path / "ptb", site[0] + "packed/", "hash")


def test_control_characters_of_a_server_are_escaped(site, tmp_path):
    assert_refused(tmp_path / "ptb", site[0] + "status/", "404")


@pytest.mark.parametrize("error", [RuntimeError("two\nlines"), RecursionError("deep"), KeyError("x"), AttributeError()])
def test_any_error_of_the_libraries_is_a_failure_of_that_source(site, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("pooch.retrieve", fail)
    assert_refused(tmp_path / "ptb", site[0] + "files/", "could not fetch")


def header(name="x", size=0, kind=b"0"):
    """The header of a file in an archive, with a valid checksum."""
    member = tarfile.TarInfo(name)
    member.type = kind
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    base_256 = (size % 256**12 if size < 0 else size | 2**95).to_bytes(12, "big")
    block[124:136] = b"%011o\0" % size if 0 <= size < 8**11 else base_256
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(contents):
    return contents + bytes(-len(contents) % 512)


def pax(contents, kind=b"x"):
    return header("pax", len(contents), kind) + padded(contents)


LONG_NAME = header("././@LongLink", 4, b"L") + padded(b"abc\0")
HOSTILE_TARS = {
    "negative size": (header(size=-512), "impossible size -512"),
    "size that returns to the start": (header("a") + header("b", -1024), "impossible size -1,024"),
    "size beyond all files": (header(size=2**87), "impossible size"),
    "pax number of 300,000 digits": (pax(b"300020 size=" + b"9" * 300_007 + b"\n") + header(), "is not in the archive"),
    "pax size below zero": (pax(b"13 size=-512\n") + header(), "is not in the archive"),
    "pax sparse map": (pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n") + header(), "is not in the archive"),
    "global pax": (pax(b"16 size=1000000\n", b"g") * 3000 + header(), "is not in the archive"),
    "5,000 nested long names": (LONG_NAME * 4990 + header(), "is not in the archive"),
    "endless long names": (LONG_NAME * 10_001, "over 10,000 files"),
    "nested pax": (pax(b"10 path=a\n") * 4000 + header(), "is not in the archive"),
    "many empty files": (header() * 10_001, "over 10,000 files"),
    "sparse file": (header("data/ptb.test.txt", 512, b"S") + bytes(512), "is not in the archive"),
    "half a header": (header()[:140], "bad checksum"),
    "no checksum": (b"x" * 512, "invalid header"),
}


@pytest.fixture
def alarm():
    """Fail a test that would never end: these take a tenth of a second."""
    old = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("not refused after 30 seconds"))
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_hostile_archives_are_refused_in_one_line(site, tmp_path, case):
    tar, reason = HOSTILE_TARS[case]
    (site[1] / "evil.tgz").write_bytes(gzip.compress(tar + bytes(1024), 1))
    assert_refused(tmp_path / "ptb", site[0] + "evil.tgz", reason)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"") * 100_000,
        b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2**22,  # a name without an end
        b"\x1f\x8b\x08\x00" + bytes(6) + b"\x00\x00\x00\xff\xff" * 500_000,  # empty blocks
        b"\x1f\x8b\x08\xff" + bytes(100),
        gzip.compress(bytes(100))[:-6],
        b"",
        b"BZh9" + bytes(100),
        zlib.compress(bytes(100)),
    ],
    ids=["empty streams", "long name", "empty blocks", "flags", "truncated", "nothing", "bzip2", "zlib"],
)
def test_hostile_gzip_files_are_refused_in_one_line(site, tmp_path, packed):
    (site[1] / "evil.tgz").write_bytes(packed)
    assert_refused(tmp_path / "ptb", site[0] + "evil.tgz", "evil.tgz: ")


def test_archives_of_any_format_and_block_size_are_read(tmp_path):
    rng = random.Random(0)
    for number, kind in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        folder, buffer = tmp_path / str(number), io.BytesIO()
        folder.mkdir()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=kind) as tar:
            for name, contents in (("x/" * 100 + "other", rng.randbytes(3_000_000)), *CONTENTS.items()):
                member = tarfile.TarInfo(f"./simple-examples/data/{name}")
                member.size = len(contents)
                tar.addfile(member, io.BytesIO(contents))
        (folder / "archive").write_bytes(buffer.getvalue())
        unpack(folder / "archive", CHECKSUMS, folder)
        assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS


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
            download(tmp_path / f"ptb{n}", [site[0] + "changed.tgz"], CHECKSUMS)
        if any((tmp_path / f"ptb{n}").iterdir()):
            assert_complete(tmp_path / f"ptb{n}")


def test_without_a_network_there_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    closed = "https://127.0.0.1:9/"  # no server listens there
    for name in CORPORA:
        monkeypatch.setitem(CORPORA, name, Published((closed, closed + "a.tgz"), CHECKSUMS))
        assert cli.main(["download", name, "--out", str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert "check the network" in captured.err


@pytest.mark.parametrize("name", ["ptb", "tinyshakespeare"])
def test_the_next_command_is_named_and_its_data_is_there(tmp_path, capsys, monkeypatch, name):
    text = b"the text of a corpus\n" * 1000
    checksums = dict.fromkeys(CORPORA[name].checksums, hashlib.sha256(text).hexdigest())
    monkeypatch.setitem(CORPORA, name, Published((), checksums))
    monkeypatch.chdir(tmp_path)
    os.makedirs(f"data/{name}")
    for file in checksums:
        (tmp_path / f"data/{name}/{file}").write_bytes(text)
    assert cli.main(["download", name]) == 0
    command = capsys.readouterr().out.partition("Next: minilstm ")[2].split()
    assert cli.main([*command, "--max-steps", "0", "--hidden-size", "4", "--out", "run"]) == 0


def test_an_unwritable_directory_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        download(tmp_path / "file" / "ptb", ["https://127.0.0.1:9/"], CHECKSUMS)
