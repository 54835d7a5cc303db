"""Reading texts: words and characters, compressed and joined files, streams, and what is no UTF-8 text."""

import gzip
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.text.batches import require_length
from minilstm.text.corpus import find_grammar, load_corpus, load_text, unknown_share
from minilstm.text.reading import CHUNK_SIZE, TextSlice

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\ufeff"), max_size=200)


def write(path, contents):
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return path


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    return tmp_path_factory.mktemp("text") / "text.txt"


@given(TEXTS)
def test_the_characters_of_a_text_are_its_tokens_and_newline_is_eos(text_file, text):
    tokens = list(TextSlice(write(text_file, text), "char").tokens())
    assert tokens == ["<eos>" if char == "\n" else char for char in text]


@given(TEXTS, st.sampled_from(["word", "char"]), st.integers(0, 30), st.integers(0, 30))
def test_slices_by_tokens_are_slices_of_the_tokens(text_file, text, unit, start, size):
    whole = list(TextSlice(write(text_file, text), unit).tokens())
    assert list(TextSlice(text_file, unit, start, start + size, "token").tokens()) == whole[start : start + size]
    assert list(TextSlice(text_file, unit, start, None, "token").tokens()) == whole[start:]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.integers(-3, 3), st.sampled_from(["word", "char"]), st.sampled_from(["line", "token"]))
def test_a_long_line_is_cut_anywhere_without_a_change(text_file, chunks, more, unit, by):
    text = ("ab c\u00e9 " * CHUNK_SIZE)[: chunks * CHUNK_SIZE + 3 + more] + "z\nlast one"
    write(text_file, text)
    tokens = text.replace("\n", " <eos> ").split() if unit == "word" else [c if c != "\n" else "<eos>" for c in text]
    assert list(TextSlice(text_file, unit, by=by).tokens()) == tokens


def test_a_text_of_characters_is_split_and_encoded(tmp_path):
    corpus = load_corpus(write(tmp_path / "t.txt", "to be\nor not\n" * 100), unit="char")
    assert sorted(corpus.vocabulary) == [" ", "<eos>", "b", "e", "n", "o", "r", "t"]
    read = "".join(corpus.vocabulary[id] for id in corpus.splits["test"]).replace("<eos>", "\n")
    assert read == "to be\nor not\n" * 5


@pytest.mark.parametrize("lines", [0, 1, 2, 10])
@pytest.mark.parametrize("unit", ["word", "char"])
def test_a_file_of_few_lines_is_cut_by_tokens(tmp_path, unit, lines):
    text = ("a b c d e f g h i j " * 100 + "\n") * lines or "a b c d e f g h i j " * 100
    corpus = load_corpus(write(tmp_path / "t.txt", text), unit=unit)
    sizes = [len(corpus.splits[split]) for split in ("train", "valid", "test")]
    total = sum(sizes)
    assert sizes == [int(0.9 * total), int(0.95 * total) - int(0.9 * total), total - int(0.95 * total)]
    assert total == len(list(TextSlice(tmp_path / "t.txt", unit).tokens())) - (lines == 1)  # its newline


@pytest.mark.parametrize("tokens", [0, 1, 5, 10, 40, 41, 50, 1000])
def test_forty_tokens_are_enough_to_be_split_as_the_message_says(tmp_path, tokens):
    path = write(tmp_path / "t.txt", "a " * tokens)
    if tokens >= 40:
        config = Config(batch_size=1, num_steps=1)
        require_length(load_corpus(path), config)
    else:
        with pytest.raises(UserError, match="too few to split 90/5/5; give at least 40"):
            load_corpus(path)


def test_a_compressed_file_is_read_as_its_contents(tmp_path):
    text = "the cat sat\non the mat\n" * 50
    plain = load_corpus(write(tmp_path / "t.txt", text))
    packed = load_corpus(write(tmp_path / "packed", gzip.compress(text.encode())))
    assert packed.vocabulary == plain.vocabulary
    assert all((packed.splits[split] == plain.splits[split]).all() for split in plain.splits)


def test_a_compressed_file_that_is_damaged_or_endless_is_refused(tmp_path, monkeypatch):
    whole = gzip.compress(b"a b c d e f\n" * 1000)
    for damaged in (whole[:-9], whole[:20], b"\x1f\x8bnot gzip", whole[:30] + b"\xff\xff" + whole[32:]):
        with pytest.raises(UserError, match="is a damaged gzip file"):
            load_corpus(write(tmp_path / "t.gz", damaged))
    monkeypatch.setattr("minilstm.text.reading.MAX_UNPACKED_BYTES", 11_999)
    with pytest.raises(UserError, match="unpacks to over 11,999"):
        load_corpus(write(tmp_path / "t.gz", whole))
    write(tmp_path / "t.txt", gzip.decompress(whole))
    assert len(load_corpus(tmp_path / "t.txt").vocabulary) == 7  # no limit where nothing is unpacked


def test_byte_order_marks_at_the_start_of_a_line_are_skipped_and_elsewhere_kept(tmp_path):
    write(tmp_path / "t.txt", "\ufeffa b\n\ufeffa b\na\ufeff b\n")
    assert list(TextSlice(tmp_path / "t.txt").tokens()) == [
        "a",
        "b",
        "<eos>",
        "a",
        "b",
        "<eos>",
        "a\ufeff",
        "b",
        "<eos>",
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("line", [1, 2, 30_000])
def test_the_line_of_a_bad_byte_is_named(tmp_path, line, pack):
    contents = b"good\n" * (line - 1) + "caf\u00e9\n".encode("latin-1") + b"good\n" * 10
    with pytest.raises(UserError, match=rf"t.txt line {line} is not UTF-8 text"):
        load_corpus(write(tmp_path / "t.txt", pack(contents)))


def test_a_text_that_ends_within_a_character_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"line 3 is not UTF-8 text"):
        load_corpus(write(tmp_path / "t.txt", "a\nb\né".encode()[:-1]))


@pytest.mark.parametrize(
    ("encoding", "name"), [(f"utf-{n}-{end}", f"UTF-{n}") for n in (16, 32) for end in ("le", "be")]
)
def test_utf_16_and_32_are_recognized(tmp_path, encoding, name):
    with pytest.raises(UserError, match=f"is {name} text; convert it: iconv -f {name} -t UTF-8"):
        load_corpus(write(tmp_path / "t.txt", "\ufeffa b\n".encode(encoding)))


@pytest.mark.parametrize("text", ["", "anna\n" * 3, "".join(f"name{n}\n" for n in range(50)), "我们" * 40 + "\n"])
def test_the_wiki_raw_layout_is_read(tmp_path, text):
    for split in ("train", "valid", "test"):
        write(tmp_path / f"wiki.{split}.raw", "a b\n" + text)
    assert load_corpus(tmp_path).vocabulary[0] in ("<eos>", "我们" * 40)


@pytest.mark.parametrize(
    "line", ["anna{}", "{},name{},street{},12", "我们去学校{}", "x" * 20 + "{} " + "y" * 20 + "{}"],
)  # fmt: skip
def test_a_list_or_a_text_without_blanks_is_advised_to_be_read_by_characters(tmp_path, line):
    text = "".join(line.replace("{}", str(n)) + "\n" for n in range(400))
    with pytest.raises(UserError, match="unit char reads its characters"):
        load_corpus(write(tmp_path / "t.txt", text))


def test_an_ordinary_text_with_an_unknown_word_is_advised_to_map_it(tmp_path):
    text = "the cat sat on the mat and looked at the dog\n" * 40 + "the dog left\n"
    with pytest.raises(UserError, match=r"'left' is not in the training vocabulary.*min_count 2 maps unknown words"):
        load_corpus(write(tmp_path / "t.txt", text))


def test_the_share_of_unknown_words(tmp_path):
    corpus = load_corpus(write(tmp_path / "t.txt", "a a b\n" * 20 + "a c b\n"), min_count=2)
    assert unknown_share(corpus.splits["test"], corpus.vocabulary) == 1 / 8
    assert unknown_share(corpus.splits["train"], corpus.vocabulary) == 0
    assert unknown_share(corpus.splits["test"], ["<eos>"]) == 0


def test_a_whole_text_is_read_with_a_given_vocabulary(tmp_path):
    path = write(tmp_path / "t.txt", "a cat\n")
    assert load_text(path, ["<unk>", "a", "<eos>"]).tolist() == [1, 0, 2]
    with pytest.raises(UserError, match="'cat' is not in the training vocabulary"):
        load_text(path, ["a", "<eos>"])


@pytest.mark.parametrize(
    ("grammar", "ours"),
    [
        ("1 Sentence -> a\n", True),
        ("Chapter 1: nouns\n1 noun\n", False),
        (b"\xff\xfe", False),
        ("x" * 2_000_000, False),
        ("1 Sentence -> a\nnonsense\n", True),  # a slip in a grammar of ours is an error, not a text without a floor
    ],
)
def test_a_grammar_that_is_not_ours_is_left_alone(tmp_path, grammar, ours):
    write(tmp_path / "grammar.txt", grammar)
    assert (find_grammar(tmp_path) is not None) == ours


STDIN = (
    "from minilstm import load_corpus; c = load_corpus('{}'); print(c.name, len(c.splits['train']), c.vocabulary[0])"
)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no /dev")
@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input_is_a_text(name):
    code, text = STDIN.format(name), "to be or not\n" * 100
    result = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True)
    assert result.stdout == "standard input 450 <eos>\n", result.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows has no file descriptors to pass on")
def test_a_stream_of_the_shell_is_a_text():
    read, write_end = os.pipe()
    feeder = threading.Thread(target=lambda: (os.write(write_end, b"to be or not\n" * 100), os.close(write_end)))
    feeder.start()
    code = STDIN.format(f"/dev/fd/{read}")
    result = subprocess.run([sys.executable, "-c", code], pass_fds=[read], capture_output=True, text=True)
    feeder.join()
    os.close(read)
    assert result.stdout == "standard input 450 <eos>\n", result.stderr
