import random
import signal

import pytest

collect_ignore = ["right_answers", "wrong_answers"]  # read by test_exercises.py


@pytest.fixture
def signals_heard():
    """The default SIGHUP and SIGINT: nohup and a shell's ``&`` ignore them, here and in processes started by a test."""
    before = {
        number: signal.signal(number, default)
        for number, default in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler))
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def write_corpus(directory):
    rng = random.Random(0)
    directory.mkdir()
    for name, lines in (("train", 200), ("valid", 30), ("test", 20)):
        words = [[rng.choice("abcdefghij") for _ in range(9)] for _ in range(lines)]
        (directory / f"{name}.txt").write_text("".join(" ".join(line) + "\n" for line in words))
    return directory


@pytest.fixture
def corpus_dir(tmp_path):
    """A directory with train.txt, valid.txt and test.txt: 11 words, 2,000 training tokens."""
    return write_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def shared_corpus_dir(tmp_path_factory):
    """The same corpus, written once; only for tests that do not change it."""
    return write_corpus(tmp_path_factory.mktemp("shared") / "corpus")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The web site, built once; skipped without the extra `site`."""
    from site_tools import run_site_build

    from site_build.__main__ import missing_packages

    if missing := missing_packages():
        pytest.skip(f'{", ".join(missing)} not installed: pip install -e ".[site]"')
    output = tmp_path_factory.mktemp("site") / "built"
    done = run_site_build("-o", output)
    assert done.returncode == 0, done.stderr
    return output
