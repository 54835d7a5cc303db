"""What people do with a text of their own: characters, other texts, sentences, and how much of them is unknown."""

import gzip
import itertools
import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from minilstm.cli import main, parse
from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.generate import generate
from minilstm.model import init_params
from minilstm.runs.surprise import arrange, draw_surprise, shown
from minilstm.score import WINDOW, score

TINY = ["--hidden-size", "5", "--num-steps", "4", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def unk_run(tmp_path_factory):
    """A run whose vocabulary has <unk>."""
    folder = tmp_path_factory.mktemp("unk")
    (folder / "t.txt").write_text("the cat sat on the mat .\nthe dog sat on the cat .\n" * 60 + "a rare word\n")
    assert main(["train", "--data", str(folder / "t.txt"), "--min-count", "2", "--out", str(folder / "r"), *TINY]) == 0
    return folder / "r"


@pytest.fixture(scope="module")
def char_run(tmp_path_factory):
    """A run of characters, on a text of one line and a blank at its end."""
    folder = tmp_path_factory.mktemp("char")
    (folder / "t.txt").write_text("to be or not to be\nthat is \n" * 60)
    train = ["train", "--data", str(folder / "t.txt"), "--unit", "char", "--out", str(folder / "r"), *TINY]
    assert main(train) == 0
    return folder / "r"


def output(capsys, *command):
    """What a command prints on standard output and standard error; it succeeds."""
    capsys.readouterr()
    assert main([str(part) for part in command]) == 0
    return capsys.readouterr()


def complaint(capsys, *command):
    """The single line of error that a wrong command prints."""
    capsys.readouterr()
    assert main([str(part) for part in command]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


# characters


def test_a_run_of_characters_is_trained_resumed_evaluated_and_generates_text_without_blanks(capsys, char_run, tmp_path):
    assert sorted((char_run / "vocab.txt").read_text().split("\n")[:-1]) == sorted({*"to be or not that is ", "<eos>"})
    printed = output(capsys, "train", "--resume", "--out", char_run, "--max-max-epoch", "2").out
    assert re.search(r"Epoch: 2 Valid Perplexity: [\d.]+ \([\d.]+ bits per character\)\n", printed)
    printed = output(capsys, "evaluate", char_run).out
    value, bits = map(float, re.search(r"Test Perplexity: (\S+) \((\S+) bits per character\)", printed).groups())
    assert math.log2(value) == pytest.approx(bits, abs=1e-3)
    assert "Characters predicted: " in printed
    text = output(capsys, "generate", char_run, "--prompt", "to be", "--words", "200").out
    assert text.startswith("to be")
    assert len(text) in (205, 206)  # and a newline at the end, unless there is one
    assert set(text) <= set("to be or not that is \n")


def test_characters_that_do_not_show_survive_in_vocab_txt(capsys, tmp_path):
    text = "a\tb \u2028c\x85d\u00a0e\ufefff\n" * 100
    (tmp_path / "t.txt").write_text(text, encoding="utf-8", newline="")
    output(capsys, "train", "--data", tmp_path / "t.txt", "--unit", "char", "--out", tmp_path / "r", *TINY)
    assert "Test Perplexity" in output(capsys, "evaluate", tmp_path / "r").out
    words = (tmp_path / "r/vocab.txt").read_bytes().decode().split("\n")[:-1]
    assert sorted(words) == sorted({*text.replace("\n", ""), "<eos>"})


# unknown words


def test_the_share_of_unk_is_printed_for_each_split_and_warned_of(capsys, tmp_path):
    (tmp_path / "t.txt").write_text("".join(f"name{n}\n" for n in range(600)))
    train = ["train", "--data", tmp_path / "t.txt", "--out", tmp_path / "r", *TINY]
    assert "--unit char reads its characters" in complaint(capsys, *train)
    printed = output(capsys, *train, "--min-count", "2")
    assert "<unk>: 50.0% of train, 50.0% of valid, 50.0% of test\n" in printed.out
    assert "50% of the train text is <unk>, so its perplexity says little; if it is a list or has no" in printed.err
    printed = output(capsys, "evaluate", tmp_path / "r", "--split", "valid")
    assert "<unk>: 50.0% of valid\n" in printed.out
    assert "50% of the valid text is <unk>" in printed.err


def test_a_small_share_of_unk_is_no_warning_and_none_is_not_mentioned(capsys, unk_run, corpus_dir, tmp_path):
    printed = output(capsys, "evaluate", unk_run)
    assert "<unk>: " in printed.out
    assert "says little" not in printed.err
    assert "<unk>" not in output(capsys, "train", "--data", corpus_dir, "--out", tmp_path / "r", *TINY).out


# any text


@pytest.mark.parametrize("pack", [str.encode, lambda text: gzip.compress(text.encode())])
def test_any_text_is_evaluated_as_a_whole(capsys, unk_run, tmp_path, pack):
    (tmp_path / "mine.txt").write_bytes(pack("the dog sat on my mat .\n" * 3))
    printed = output(capsys, "evaluate", unk_run, "--data", tmp_path / "mine.txt").out
    assert "Text Perplexity: " in printed
    assert "Words predicted: 23 of 24; not predicted: 1 at the start of a stream, 0 at the end" in printed
    assert "<unk>: 12.5% of text" in printed


def test_a_text_on_standard_input_is_evaluated(capsys, unk_run, monkeypatch, tmp_path):
    (tmp_path / "in").write_text("the dog sat on the mat .\n")
    with open(tmp_path / "in") as file:
        number = file.fileno()
        printed = output(capsys, "evaluate", unk_run, "--data", f"/dev/fd/{number}").out
    assert "Words predicted: 7 of 8" in printed


def test_a_file_is_split_only_if_a_split_is_asked_for(capsys, unk_run, tmp_path):
    (tmp_path / "mine.txt").write_text("the dog sat on the mat .\n" * 100)
    printed = output(capsys, "evaluate", unk_run, "--data", tmp_path / "mine.txt", "--split", "test").out
    assert "Test Perplexity: " in printed
    assert "predicted: 39 of 40" in printed


def test_another_corpus_is_read_with_the_vocabulary_of_the_run(capsys, unk_run, corpus_dir):
    printed = output(capsys, "evaluate", unk_run, "--data", corpus_dir)
    assert "90% of the test text is <unk>" in printed.err  # all but <eos>


@pytest.mark.parametrize("text", ["", "one", "\0", b"\xff"])
def test_a_text_that_cannot_be_evaluated_is_told_in_one_line(capsys, unk_run, tmp_path, text):
    (tmp_path / "t.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    complaint(capsys, "evaluate", unk_run, "--data", tmp_path / "t.txt")
    assert "No such file" in complaint(capsys, "evaluate", unk_run, "--data", tmp_path / "nowhere")


# resuming


def test_a_resumed_run_remembers_where_its_text_is_now(capsys, corpus_dir, tmp_path, monkeypatch):
    run = tmp_path / "r"
    output(capsys, "train", "--data", corpus_dir, "--out", run, *TINY)
    moved = corpus_dir.rename(tmp_path / "moved")
    assert "give its new place with --data" in complaint(capsys, "train", "--resume", "--out", run)
    monkeypatch.chdir(tmp_path)
    output(capsys, "train", "--resume", "--out", run, "--max-max-epoch", "2", "--data", "moved")
    assert json.loads((run / "config.json").read_text())["data"] == str(moved)
    monkeypatch.chdir("/")
    printed = output(capsys, "train", "--resume", "--out", run, "--max-max-epoch", "3").out
    for command in re.findall(r"^  minilstm (.*)", printed, re.MULTILINE):
        output(capsys, *command.split())
    (moved / "valid.txt").write_text("a b c\n" * 30)
    (corpus_dir := tmp_path / "corpus").mkdir()
    assert "the valid text" in complaint(
        capsys, "train", "--resume", "--out", run, "--max-max-epoch", "9", "--data", moved
    )
    assert json.loads((run / "config.json").read_text())["data"] == str(moved)


def test_a_run_on_standard_input_needs_it_again(capsys, tmp_path, monkeypatch):
    (tmp_path / "t.txt").write_text("the cat sat .\n" * 100)
    with open(tmp_path / "t.txt", "rb") as file:
        output(capsys, "train", "--data", f"/dev/fd/{file.fileno()}", "--out", tmp_path / "r", *TINY)
    resume = ["train", "--resume", "--out", tmp_path / "r", "--max-max-epoch", "2"]
    assert "was trained on standard input; give the text again, with --data -" in complaint(capsys, *resume)
    assert "standard input" in complaint(capsys, "evaluate", tmp_path / "r")
    output(capsys, *resume, "--data", tmp_path / "t.txt")
    assert "Test Perplexity" in output(capsys, "evaluate", tmp_path / "r").out


def test_the_home_directory_is_found(capsys, corpus_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(corpus_dir)
    output(capsys, "train", f"--data=~/{corpus_dir.name}", "--out=~/run", *TINY)
    assert (tmp_path / "run/config.json").exists()
    output(capsys, "evaluate", "~/run", f"--data=~/{corpus_dir.name}/valid.txt")
    output(capsys, "generate", "~/run")
    output(capsys, "plot", "~/run", "--output=~/curve.svg")
    assert (tmp_path / "curve.svg").exists()
    assert not (corpus_dir / "~").exists()


# sentences


def distribution(params, config, vocabulary, words):
    """P(next word | words), from the frequencies of many draws."""
    ids = [vocabulary.index(word) for word in words]
    drawn = [next(generate(params, config, vocabulary, ids, 1, seed=seed)) for seed in range(4000)]
    return {word: drawn.count(word) / len(drawn) for word in vocabulary}


def test_scores_are_the_probabilities_with_which_words_are_drawn():
    config, vocabulary = Config(hidden_size=6, init_scale=1.5, dtype="float64"), ["<eos>", "a", "b", "c"]
    params = init_params(config, len(vocabulary))
    for words in ([], ["b"], ["a", "<eos>", "c"]):
        frequencies = distribution(params, config, vocabulary, words)
        for id, word in enumerate(vocabulary):
            ids = [vocabulary.index(w) for w in words]
            assert math.exp(score(params, config, vocabulary, [*ids, id])[-1]) == pytest.approx(
                frequencies[word], abs=0.04
            )


@pytest.mark.parametrize("length", [1, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 1])
def test_a_long_text_is_scored_in_windows_without_a_change(length):
    config, vocabulary = Config(hidden_size=3, num_layers=2, init_scale=1.0, dtype="float64"), ["<eos>", "a", "b"]
    params = init_params(config, 3)
    ids = np.random.default_rng(length).integers(0, 3, length)
    logs = score(params, config, vocabulary, ids)
    assert logs.shape == (length,)
    for n in {0, length // 2, length - 1}:
        assert logs[n] == pytest.approx(score(params, config, vocabulary, ids[: n + 1])[-1], rel=1e-12)


def test_the_probabilities_of_all_sentences_of_a_length_sum_to_one():
    config, vocabulary = Config(hidden_size=3, init_scale=2.0, dtype="float64"), ["<eos>", "a", "b"]
    params = init_params(config, 3)
    total = sum(math.exp(score(params, config, vocabulary, ids).sum()) for ids in itertools.product(range(3), repeat=4))
    assert total == pytest.approx(1, abs=1e-12)


def test_a_text_without_a_newline_has_eos_in_its_vocabulary_all_the_same(capsys, tmp_path):
    (tmp_path / "t.txt").write_text("a b c d " * 100)
    (tmp_path / "other.txt").write_text("a b c\nd a\n")
    output(capsys, "train", "--data", tmp_path / "t.txt", "--out", tmp_path / "r", *TINY)
    assert "Text Perplexity: " in output(capsys, "evaluate", tmp_path / "r", "--data", tmp_path / "other.txt").out
    assert "nan" not in output(capsys, "score", tmp_path / "r", "a b").out
    assert output(capsys, "generate", tmp_path / "r", "--prompt", "a b\nc").out.startswith("a b\nc")


def test_what_cannot_be_scored_is_told():
    config = Config(hidden_size=3)
    with pytest.raises(UserError, match="no text to score"):
        score(init_params(config, 2), config, ["<eos>", "b"], [])
    with pytest.raises(UserError, match="knows no <eos>"):  # of an earlier version
        score(init_params(config, 2), config, ["a", "b"], [1])


def test_a_sentence_has_the_perplexity_that_evaluate_finds_after_a_newline(capsys, unk_run, tmp_path):
    (tmp_path / "t.txt").write_text("\nthe dog sat on the mat .\n")
    expected = re.search(r"Perplexity: (\S+)", output(capsys, "evaluate", unk_run, "--data", tmp_path / "t.txt").out)[1]
    printed = output(capsys, "score", unk_run, "the dog sat on the mat .").out
    assert f"perplexity {expected}; " in printed
    lines = [line.split() for line in printed.splitlines()]
    assert [line[2] for line in lines[1:9]] == ["the", "dog", "sat", "on", "the", "mat", ".", "<eos>"]
    for probability, bits, _ in lines[1:9]:
        assert -math.log2(float(probability)) == pytest.approx(float(bits), abs=0.01)


def test_lines_of_a_file_and_of_standard_input_are_sentences(capsys, unk_run, tmp_path):
    (tmp_path / "t.txt").write_text("the dog sat\n\non the mat")
    printed = output(capsys, "score", unk_run, "--file", tmp_path / "t.txt").out
    assert printed.count("probability") == 3
    assert "All 3 sentences: perplexity" in printed
    assert printed == output(capsys, "score", unk_run, "the dog sat", "", "on the mat").out
    assert "not both" in complaint(capsys, "score", unk_run, "the dog", "--file", tmp_path / "t.txt")
    (tmp_path / "t.txt").write_text("")
    assert "no sentence" in complaint(capsys, "score", unk_run, "--file", tmp_path / "t.txt")


def test_unknown_words_of_a_sentence_are_named(capsys, unk_run, corpus_dir, tmp_path):
    printed = output(capsys, "score", unk_run, "the \x1b[31mzebra sat", "a zebra")
    assert "the model reads '\\x1b[31mzebra', 'a', 'zebra' as <unk>" in printed.err
    assert "\x1b" not in printed.out + printed.err
    output(capsys, "train", "--data", corpus_dir, "--out", tmp_path / "r", *TINY)
    assert "does not know 'zebra' and has no <unk>" in complaint(capsys, "score", tmp_path / "r", "a zebra")


def test_characters_are_scored_too(capsys, char_run):
    printed = output(capsys, "score", char_run, "to be ").out
    assert len(printed.splitlines()) == 1 + 6 + 1 + 2  # heading, characters, <eos>, perplexity and a blank line
    assert "bits per character" in printed


@pytest.mark.parametrize("suffix", ["png", "svg", "PDF"])
def test_the_words_are_drawn_coloured_by_surprise(capsys, unk_run, tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    assert f"Picture: {path}" in output(capsys, "score", unk_run, "the dog $sat$ 我们", "on", "--plot", path).out
    assert path.stat().st_size > 1000
    assert "give a file name that ends in" in complaint(capsys, "score", unk_run, "the dog", "--plot", tmp_path / "s.x")
    with_too_many = ["score", unk_run, "the " * 3001, "--plot", tmp_path / "t.png"]
    assert "too many for a picture" in complaint(capsys, *with_too_many)


def test_each_word_has_its_colour_and_place():
    tokens = ["plain", "striking", "<eos>"]
    figure = draw_surprise([(tokens, np.array([0.0, 16.0, 8.0])), (["x" * 100], np.array([1.0]))])
    luminance = [0.3 * r + 0.6 * g + 0.1 * b for r, g, b, _ in (box.get_facecolor() for box in figure.artists)]
    assert luminance[1] < luminance[2] < luminance[3] < luminance[0]
    assert [text.get_text() for text in figure.texts] == ["plain", "striking", "↵", "x" * 71 + "…"]
    assert figure.axes[0].get_xlabel() == "surprise (bits)"


@pytest.mark.parametrize(("unit", "tokens"), [("char", list("Wide Wmwl")), ("word", ["Wide", "汉字", "Wmwl", "iii"])])
def test_a_box_holds_its_whole_token_and_touches_no_other(unit, tokens):
    figure = draw_surprise([(tokens, np.arange(len(tokens), dtype=float))], unit)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [box.get_window_extent(renderer) for box in figure.artists]
    assert not any(a.x1 > b.x0 + 0.01 for a, b in itertools.pairwise(boxes))
    for box, text in zip(boxes, figure.texts, strict=True):
        inside = text.get_window_extent(renderer)
        assert box.x0 - 0.6 <= inside.x0, text
        assert inside.x1 <= box.x1 + 0.6, text
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 for box in boxes)


def test_long_sentences_wrap_and_characters_join():
    assert arrange([["a" * 40, "b" * 40], ["c"]], 1) == [(0, 0, "a" * 40), (1, 0, "b" * 40), (2, 0, "c")]
    assert arrange([list("ab c")], 0) == [(0, 0, "a"), (0, 1, "b"), (0, 2, "·"), (0, 3, "c")]
    assert (shown("\x1b"), shown("a汉")) == (r"\x1b", r"a\u6c49")


def test_sentences_come_from_standard_input_if_none_is_given(capsys, unk_run):
    command = [sys.executable, "-m", "minilstm", "score", str(unk_run)]
    result = subprocess.run(command, input="the dog sat\n", capture_output=True, text=True)
    assert result.stdout == output(capsys, "score", unk_run, "the dog sat").out


def test_words_may_stand_after_flags(capsys, unk_run, tmp_path):
    printed = output(capsys, "score", unk_run, "--which", "last", "the dog", "the cat").out
    assert printed == output(capsys, "score", unk_run, "the dog", "the cat").out
    output(capsys, "plot", unk_run, "-o", tmp_path / "p.png", unk_run)


@pytest.mark.parametrize(("command", "flag"), [("train", "--data"), ("evaluate", "--data"), ("generate", "--prompt")])
def test_a_word_without_a_flag_is_answered_with_the_flag(capsys, unk_run, command, flag):
    run = [] if command == "train" else [str(unk_run)]
    with pytest.raises(SystemExit, match="2"):
        parse([command, *run, "my text"])
    assert f"unknown: my text; did you mean {flag} 'my text'?" in capsys.readouterr().err


def test_characters_of_the_toy_corpus_are_trained_without_a_floor(capsys, tmp_path):
    printed = output(capsys, "train", "--unit", "char", "--out", tmp_path / "r", "--max-steps", "1", *TINY).out
    assert "Floor" not in printed


def test_a_run_on_standard_input_says_how_to_give_it_again(capsys, tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat .\n" * 100)
    with open(tmp_path / "t.txt", "rb") as file:
        printed = output(capsys, "train", "--data", f"/dev/fd/{file.fileno()}", "--out", tmp_path / "r", *TINY).out
    assert f"minilstm evaluate {tmp_path / 'r'} --split valid --data -\n" in printed
    assert f"minilstm train --resume --out {tmp_path / 'r'} --data - --max-max-epoch 3\n" in printed


@pytest.mark.parametrize("lines", [12, 30, 70])
def test_as_much_text_as_the_message_says_is_enough(capsys, tmp_path, lines):
    flags = ["--out", tmp_path / "r", "--hidden-size", "3", "--max-max-epoch", "1"]
    (tmp_path / "t.txt").write_text("the cat sat on the mat .\n" * lines)
    message = complaint(capsys, "train", "--data", tmp_path / "t.txt", *flags)
    factor = float(re.search(r"give ([\d.]+) times as much text", message)[1])
    (tmp_path / "t.txt").write_text("the cat sat on the mat .\n" * math.ceil(factor * lines))
    output(capsys, "train", "--data", tmp_path / "t.txt", *flags)


def test_a_short_text_without_blanks_is_advised_to_be_read_by_characters(capsys, tmp_path):
    for text in ("我们去学校\n" * 100, "ACGT" * 1000 + "\n"):
        (tmp_path / "t.txt").write_text(text)
        message = complaint(capsys, "train", "--data", tmp_path / "t.txt", "--out", tmp_path / "r", "--min-count", "2")
        assert "--unit char" in message


def test_a_text_of_words_that_the_model_does_not_know_is_told(capsys, unk_run, corpus_dir):
    printed = output(capsys, "evaluate", unk_run, "--data", corpus_dir)
    assert "so its perplexity says little; the model does not know its words" in printed.err


def test_a_home_directory_that_nobody_has_is_no_traceback(capsys, unk_run):
    assert "does not exist" in complaint(capsys, "train", "--data", "~nobody9/text.txt")


def test_a_directory_of_compressed_files_is_a_corpus(capsys, corpus_dir, tmp_path):
    for file in list(corpus_dir.iterdir()):
        (corpus_dir / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    output(capsys, "train", "--data", corpus_dir, "--out", tmp_path / "r", *TINY)


def test_what_is_wrong_with_standard_input_is_said_of_it(capsys, tmp_path):
    (tmp_path / "t.txt").write_bytes(b"caf\xe9\n")
    with open(tmp_path / "t.txt", "rb") as file:
        message = complaint(capsys, "train", "--data", f"/dev/fd/{file.fileno()}", "--out", tmp_path / "r")
    assert "standard input line 1 is not UTF-8" in message


def test_a_vocabulary_too_large_to_be_read_again_is_refused_before_a_run_is_replaced(
    capsys, unk_run, tmp_path, monkeypatch
):
    run = shutil.copytree(unk_run, tmp_path / "r")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    (tmp_path / "t.txt").write_text("the cat sat on the mat .\n" * 100)
    monkeypatch.setattr("minilstm.runs.session.MAX_TEXT_BYTES", 20)
    message = complaint(capsys, "train", "--data", tmp_path / "t.txt", "--out", run, "--overwrite", *TINY)
    assert "the vocabulary has over 20 bytes; raise --min-count" in message
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
