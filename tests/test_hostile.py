"""Damaged and hostile files are refused in one line and never executed. The long version is mutate.py."""

import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kill import write_corpus

from minilstm.cli import main
from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.files import parse_json
from minilstm.runs.checkpoint import load_checkpoint, save_checkpoint
from minilstm.step import init_train_state
from minilstm.text.corpus import load_corpus

TINY = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]


def complaint(capsys, arguments):
    """The single line that a command prints before it ends with status 2."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minilstm: error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.slow
def test_mutated_files_of_a_run_and_a_corpus_are_refused_in_one_line_or_harmless(tmp_path):
    # a separate process: the audit hook and the memory limit cannot be undone
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "mutate.py"), "--inputs", "250"]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr[-3000:]
    assert "no traceback, no hang, nothing executed" in result.stdout


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A finished run's directory, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    corpus, run = write_corpus(folder / "c"), folder / "r"
    assert main(["train", "--data", str(corpus), "--out", str(run), *TINY]) == 0
    return run


@pytest.fixture(scope="module")
def checkpoint_file(tmp_path_factory):
    """A small checkpoint's path and bytes."""
    path = tmp_path_factory.mktemp("hostile") / "checkpoint.safetensors"
    config = Config(hidden_size=2, num_steps=2, batch_size=2)
    save_checkpoint(path, init_train_state(config, ["a", "b"]))
    return path, path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_a_checkpoint_is_noticed(checkpoint_file, data):
    path, whole = checkpoint_file
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    with pytest.raises(UserError, match=r"damaged|not written by this version"):
        load_checkpoint(path)


def test_every_bit_of_the_header_and_some_of_the_data_of_a_checkpoint_counts(checkpoint_file):
    path, whole = checkpoint_file
    header = 8 + int.from_bytes(whole[:8], "little")
    for at in [*range(header), *range(header, len(whole), 7)]:
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        path.write_bytes(changed)
        with pytest.raises(UserError):
            load_checkpoint(path)
    path.write_bytes(whole)
    load_checkpoint(path)


@settings(max_examples=100, deadline=None)
@given(contents=st.binary(max_size=300))
def test_no_bytes_crash_the_reader_of_checkpoints(checkpoint_file, contents):
    path, _ = checkpoint_file
    path.write_bytes(contents)
    with pytest.raises(UserError):
        load_checkpoint(path)


@settings(max_examples=100, deadline=None)
@given(contents=st.binary(max_size=300))
def test_bytes_are_a_corpus_or_a_complaint(tmp_path_factory, contents):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(contents)
    with suppress(UserError):
        corpus = load_corpus(path)
        words = [corpus.vocabulary[id] for split in ("train", "valid", "test") for id in corpus.splits[split]]
        text = contents.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        assert words == text.replace("\n", " <eos> ").split()


@pytest.mark.parametrize("length", [1, 65_535, 65_536, 65_537, 200_000])
def test_a_text_in_one_long_line_is_the_same_words_wherever_it_is_cut(tmp_path, length):
    rng = random.Random(length)
    text = "".join(rng.choice("ab \u00e9\u2003") for _ in range(length)) + "c"
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
    corpus = load_corpus(tmp_path)
    assert [corpus.vocabulary[id] for id in corpus.splits["train"]] == text.split()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
def test_one_line_of_50_mb_is_read_in_bounded_memory(tmp_path):
    write_corpus(tmp_path / "c")
    (tmp_path / "c/train.txt").write_bytes(b"a b c d e f g h i j " * 2_500_000 + b"\n")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20,) * 2);"
        "from minilstm.text.corpus import load_corpus; print(len(load_corpus(sys.argv[1]).splits['train']))"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "c"], capture_output=True, text=True, env=environment
    )
    assert (result.stdout, result.stderr) == ("25000001\n", "")


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"a b\nc \0 d\n", "line 2 has a NUL byte"),
        ("a b\n".encode("utf-16"), "is UTF-16 text; convert it"),
        ("a b\n".encode("utf-16-le"), "NUL byte"),
        (b"a \xed\xa0\x80 b\n", "not UTF-8"),  # a lone surrogate
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8"),
        (b"x" * 50_000_000, "a word of over 65,536 characters"),
        (b"", "is empty"),
    ],
    ids=["nul", "utf-16", "utf-16-le", "surrogate", "binary", "one word of 50 MB", "empty"],
)
def test_texts_that_are_none_are_refused(capsys, tmp_path, contents, says):
    write_corpus(tmp_path / "c")
    (tmp_path / "c/train.txt").write_bytes(contents)
    assert says in complaint(capsys, ["train", "--data", tmp_path / "c", "--out", tmp_path / "r"])
    assert not (tmp_path / "r").exists()


def test_a_byte_order_mark_crlf_and_cr_leave_the_words_as_they_are(tmp_path):
    results = []
    for newline, mark in (("\n", ""), ("\r\n", "\ufeff"), ("\r", "")):
        text = mark + "".join(f"a{n % 7} b{newline}" for n in range(40))
        (tmp_path / "t.txt").write_bytes(text.encode())
        corpus = load_corpus(tmp_path / "t.txt")
        results.append((corpus.vocabulary, corpus.splits["train"].tolist()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("kind", ["fifo", "loop", "device", "directory"])
@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "metrics.csv", "checkpoint.safetensors", "train.txt"])
def test_what_is_no_regular_file_is_refused_and_does_not_hang(capsys, tmp_path, kind, name):
    corpus, run = write_corpus(tmp_path / "c"), tmp_path / "r"
    assert main(["train", "--data", str(corpus), "--out", str(run), *TINY, "--max-steps", "1"]) == 0
    capsys.readouterr()
    path = (corpus if name == "train.txt" else run) / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(path.name if kind == "loop" else "/dev/zero")
    command = {"vocab.txt": ["generate"]}.get(name, ["train", "--resume", "--out"])
    error = complaint(capsys, [*command, run])
    assert kind == "loop" or "not a regular file" in error


NO_VALUES = "NaN", "Infinity", "1" * 400, "1" * 5000, "[" * 100_000, '{"a":' * 9, '"\\ud800"'


@pytest.mark.parametrize("value", NO_VALUES, ids=[value[:8] for value in NO_VALUES])
@pytest.mark.parametrize("name", ["learning_rate", "num_layers", "data", "floor", "text"])
def test_values_that_no_config_json_has_are_refused(capsys, tmp_path, value, name):
    corpus, run = write_corpus(tmp_path / "c"), tmp_path / "r"
    assert main(["train", "--data", str(corpus), "--out", str(run), *TINY, "--max-steps", "1"]) == 0
    capsys.readouterr()
    lines = (run / "config.json").read_text().split("\n")
    lines = [f'  "{name}": {value},' if line.startswith(f'  "{name}"') else line for line in lines]
    (run / "config.json").write_text("\n".join(lines))
    complaint(capsys, ["train", "--resume", "--out", run])


def test_nesting_is_refused_before_it_is_parsed():
    with pytest.raises(ValueError, match="more than 100 objects and lists"):
        parse_json("[" * 1_000_000)
    with pytest.raises(ValueError, match="more than 1,000 values"):
        parse_json("[" + "0," * 1_000_000 + "0]")


def test_a_checkpoint_of_another_run_is_refused(capsys, tmp_path):
    corpus = write_corpus(tmp_path / "c")
    for name, hidden in (("one", "4"), ("other", "5")):
        train = ["train", "--data", str(corpus), "--out", str(tmp_path / name), *TINY, "--max-steps", "1"]
        assert main([*train, "--hidden-size", hidden]) == 0
    capsys.readouterr()
    os.replace(tmp_path / "one/checkpoint.safetensors", tmp_path / "other/checkpoint.safetensors")
    for command in (["evaluate"], ["generate"], ["train", "--resume", "--out"]):
        assert "are from different runs" in complaint(capsys, [*command, tmp_path / "other"])


@pytest.mark.parametrize(
    "row",
    [
        "1,10,train,inf,1,1,1,5", "1,10,train,nan,1,1,1,5", "1,10,train,-2,1,1,1,5", "1,10,train,,1,1,1,5",
        "1,0,valid,5,,,,5", "x,10,train,5,1,1,1,5", "1,10,rest,5,1,1,1,5", "1,10,train,5,1,1,1",
        "1,10,train,5,1,1,1,5,6",
        "1," + "9" * 5000 + ",train,5,1,1,1,5", "1," + "9" * 400 + ",train,5,1,1,1,5", "1,10,train,1e308,1,1,1,5",
        "1,10,train," + "5" * 200_000 + ",1,1,1,5", "1,10,train,5,1,1,1,\0", "",
    ],
)  # fmt: skip
def test_rows_that_no_run_writes_are_refused(capsys, finished_run, tmp_path, row):
    run = shutil.copytree(finished_run, tmp_path / "r")
    lines = (run / "metrics.csv").read_text().split("\n")
    (run / "metrics.csv").write_text("\n".join([*lines[:3], row, *lines[3:]]))
    assert "line 4 is not a valid row" in complaint(capsys, ["plot", run, "-o", tmp_path / "x.png"])
    assert "metrics.csv" in complaint(capsys, ["train", "--resume", "--out", run])


def test_control_characters_of_names_and_words_do_not_reach_the_terminal(capsys, tmp_path):
    assert "\\x1b[31m" in complaint(capsys, ["evaluate", tmp_path / "\x1b[31m\nname"])
    text, run = tmp_path / "t\x1b[2J.txt", tmp_path / "r\x1b[2J"
    text.write_text("".join(f"a\x1b[2J b{n % 3}\n" for n in range(100)))
    for command in (
        ["train", "--data", str(text), "--out", str(run), *TINY, "--max-steps", "1"],
        ["train", "--resume", "--out", str(run), "--max-steps", "2"],
        ["train", "--resume", "--out", str(run)],
        ["generate", str(run), "--words", "50", "--prompt", "a\x1b[2J b1"],
        ["evaluate", str(run), "--split", "valid"],
        ["plot", str(run), "-o", str(tmp_path / "p\x1b[2J.png")],
    ):
        assert main(command) == 0
        assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("command", ["evaluate", "generate", "plot", "train --data", "train --resume --out"])
def test_a_name_too_long_for_a_file_is_refused(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    complaint(capsys, [*command.split(), "a" * 300])


@pytest.mark.slow
def test_a_run_whose_name_is_markup_can_be_drawn(tmp_path):
    corpus = write_corpus(tmp_path / "c")
    for name in ("$x_{$", "_y"):
        assert main(["train", "--data", str(corpus), "--out", str(tmp_path / name), *TINY]) == 0
    assert main(["plot", str(tmp_path / "$x_{$"), str(tmp_path / "_y"), "-o", str(tmp_path / "p.svg")]) == 0
    assert "<!-- _y: best valid" in (tmp_path / "p.svg").read_text()
