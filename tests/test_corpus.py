"""Corpora and batches: the vocabulary, streams and windows, and the messages about unusable texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.text.batches import batchify, eval_batches, get_batch, num_windows
from minilstm.text.corpus import SPLITS, fingerprint, load_corpus
from minilstm.text.reading import CHUNK_SIZE, TextSlice


def write(directory, names="{}.txt", **texts):
    directory.mkdir(exist_ok=True)
    for split in ("train", "valid", "test"):
        (directory / names.format(split)).write_text(texts.get(split, texts["train"]), encoding="utf-8")
    return directory


def test_vocabulary_is_by_decreasing_frequency_ties_alphabetically_and_newline_is_eos(tmp_path):
    corpus = load_corpus(write(tmp_path, train="b a\nc a\nb a\n"))
    assert corpus.vocabulary == ["<eos>", "a", "b", "c"]
    assert corpus.splits["train"].tolist() == [2, 1, 0, 3, 1, 0, 2, 1, 0]


@pytest.mark.parametrize("names", ["ptb.{}.txt", "{}.txt", "wiki.{}.tokens"])
def test_all_directory_layouts_are_read(tmp_path, names):
    assert load_corpus(write(tmp_path, names, train="x y\n")).vocabulary == ["<eos>", "x", "y"]


def test_blank_lines_are_sentences_of_their_own_as_in_wikitext(tmp_path):
    corpus = load_corpus(write(tmp_path, "wiki.{}.tokens", train=" \n = Title = \n \n a b \n"))
    assert [corpus.vocabulary[id] for id in corpus.splits["train"]] == (
        ["<eos>", "=", "Title", "=", "<eos>", "<eos>", "a", "b", "<eos>"]
    )


def test_a_byte_order_mark_and_crlf_are_not_words(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_bytes(b"\xef\xbb\xbfa b\r\na b\r\n")
    assert sorted(load_corpus(tmp_path).vocabulary) == ["<eos>", "a", "b"]


def test_a_single_file_is_split_90_5_5_by_lines(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"a{n % 7}\n" for n in range(200)))
    assert {split: len(ids) for split, ids in load_corpus(path).splits.items()} == {
        "train": 360,
        "valid": 20,
        "test": 20,
    }


def test_min_count_maps_rare_and_unknown_words_to_unk(tmp_path):
    corpus = load_corpus(write(tmp_path, train="a a b c\na\n", valid="a d\n"), min_count=2)
    assert corpus.vocabulary == ["a", "<eos>", "<unk>"]
    assert corpus.splits["valid"].tolist() == [0, 2, 1]


def test_unknown_words_become_unk_if_the_training_text_contains_it(tmp_path):
    corpus = load_corpus(write(tmp_path, train="a <unk> b\n", valid="a new b\n"))
    assert [corpus.vocabulary[id] for id in corpus.splits["valid"]] == ["a", "<unk>", "b", "<eos>"]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"train": "a b\n", "valid": "a b\na z\n"}, r"valid.txt line 2: 'z' is not in the training vocabulary"),
        ({"train": "", "valid": "a\n"}, r"train.txt is empty"),
        ({"train": "a\n", "test": ""}, r"test.txt is empty"),
    ],
)
def test_unusable_texts_are_refused_with_the_reason(tmp_path, texts, says):
    with pytest.raises(UserError, match=says):
        load_corpus(write(tmp_path, **texts))


def test_missing_files_and_bad_bytes_are_refused_with_the_reason(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_corpus(tmp_path / "nowhere")
    with pytest.raises(UserError, match="contains no corpus"):
        load_corpus(tmp_path)
    (tmp_path / "train.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match=r"has train.txt but not valid.txt and test.txt"):
        load_corpus(tmp_path)
    (tmp_path / "valid.txt").write_text("a\n")
    (tmp_path / "test.txt").write_text("a\n")
    with pytest.raises(UserError, match="not UTF-8"):
        load_corpus(tmp_path)
    (tmp_path / "short.txt").write_text("a\n" * 5)
    with pytest.raises(UserError, match="10 tokens, too few"):
        load_corpus(tmp_path / "short.txt")


@given(tokens=st.integers(0, 300), batch_size=st.integers(1, 12), num_steps=st.integers(1, 20))
def test_windows_continue_the_streams_in_order(tokens, batch_size, num_steps):
    ids = np.arange(tokens)
    data = batchify(ids, batch_size)
    batch_len = tokens // batch_size
    assert data.shape == (batch_len, batch_size)
    windows = [get_batch(data, k, num_steps) for k in range(max(num_windows(batch_len, num_steps), 0))]
    for inputs, targets in windows:
        assert inputs.shape == targets.shape == (num_steps, batch_size)
        np.testing.assert_array_equal(targets, inputs + 1)
    if windows:
        read = np.concatenate([inputs for inputs, _ in windows])
        for b in range(batch_size):
            np.testing.assert_array_equal(read[:, b], np.arange(b * batch_len, b * batch_len + len(read)))


def test_windows_outside_the_data_are_refused():
    data = batchify(np.arange(14), 2)
    assert len(get_batch(data, 1, 4)[0]) == 2
    for k in (-1, 2):
        with pytest.raises(ValueError, match="outside the data"):
            get_batch(data, k, 4)


def test_the_test_split_is_one_stream_with_windows_of_the_same_size():
    config, ids = Config(batch_size=4, num_steps=5), np.arange(43)
    assert [(eval_batches(config, split, ids)[0].shape, eval_batches(config, split, ids)[1]) for split in SPLITS] == (
        [((10, 4), 5), ((10, 4), 5), ((43, 1), 20)]
    )
    with pytest.raises(UserError, match=r"the valid text has 7 tokens, too few for 4 streams; .* lower batch_size"):
        eval_batches(config, "valid", ids[:7])


def test_a_line_longer_than_a_chunk_keeps_its_words_whole(tmp_path):
    words = ["word" * (n % 5 + 1) for n in range(CHUNK_SIZE // 4)]
    (tmp_path / "long.txt").write_text(" ".join(words) + "\nlast line")
    text = TextSlice(tmp_path / "long.txt")
    assert list(text.tokens()) == [*words, "<eos>", "last", "line"]
    assert sum(line_number == 1 for line_number, _ in text.iter_chunks()) > 2
    assert list(TextSlice(tmp_path / "long.txt", "word", 1).tokens()) == ["last", "line"]
    assert list(TextSlice(tmp_path / "long.txt", "word", 0, 1).tokens()) == [*words, "<eos>"]


def test_fingerprints_depend_on_the_order():
    assert fingerprint(["a", "b"]) != fingerprint(["b", "a"])
    assert fingerprint(["a", "b"]) == fingerprint(["a", "b"])
