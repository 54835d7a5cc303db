import random
import signal

import pytest


@pytest.fixture
def hangup_heard():
    """The default SIGHUP: under nohup it would be ignored, here and in every process started by a test."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


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
