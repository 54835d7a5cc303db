"""Grammars of untrusted corpora: what is built from them is bounded, and so are the probabilities."""

import math
import os
import subprocess
import sys

import pytest

from minilstm.errors import UserError
from minilstm.text.corpus import load_corpus
from minilstm.text.grammar import main, oracle_perplexity, read_grammar


def numbers(text, n):
    """The text once for each number up to n, in place of its #, and for the next one in place of its &."""
    return "".join(text.replace("#", str(k)).replace("&", str(k + 1)) for k in range(n))


def write_corpus(directory, grammar, line):
    """A corpus of this line, over and over."""
    (directory / "grammar.txt").write_text(grammar)
    for split in ("train", "valid", "test"):
        (directory / f"{split}.txt").write_text(f"{line}\n" * 60)
    return directory


TOO_MUCH = {  # grammar, line of its text, what the refusal says; under 700 MB of address space
    "many variables": (numbers("variable v# " + "v " * 200 + "= " + "a " * 200 + "\n", 1500), "a", "larger than"),
    "variables of many values": (
        numbers("variable v# = " + "a " * 400 + "\n", 2) + "1 Sentence -> $v0 $v1\n", "a a", "10,000 rules"
    ),
    "many variables in one rule": (
        numbers("variable v# = a b c d\n", 30) + "1 Sentence -> " + numbers("$v# ", 30) + "\n", "a", "10,000 rules"
    ),
    "long values": (
        "variable v = " + "z" * 980 + "\n" + numbers("1 S# -> " + "$v " * 300 + "\n", 1000), "a", "characters in a rule"
    ),
    "long rules": (
        "variable v = " + numbers("k# ", 150) + "\n" + numbers("1 S#[v] -> " + "bb " * 300 + "\n", 60), "a",
        "symbols in its rules",
    ),
    "many rules": (numbers("1 S# -> a\n", 10_001), "a", "10,000 rules"),
    "long line": ("1 Sentence -> " + "[" * 5000 + "\n", "a", "characters in line 1"),
    "a rule inside itself": (numbers("1 Sentence -> un Sentence x#\n", 400) + "1 Sentence -> un\n", "un un un un",
                             "symbols in the derivations"),
    "a rule twice inside itself": (
        numbers("1 Sentence -> un Sentence Sentence x#\n", 60) + "1 Sentence -> un\n", "un " * 20,
        "symbols in the derivations",
    ),
    "doubling": (
        numbers("1 S# -> S& x\n1 S# -> S& y\n", 40) + "1 S40 -> a\n1 Sentence -> S0\n", "a", "symbols when expanded"
    ),
    "many first words": (
        "variable v = " + numbers("k# ", 199) + "\n1 A -> $v\n" + numbers("1 S# -> A\n1 T -> S#\n", 4900)
        + "1 Sentence -> T\n", "k1", "symbols when expanded",
    ),
    "a chain": (numbers("1 S# -> S&\n", 9990) + "1 S9990 -> a\n1 Sentence -> S0\n", "a", "100 rules from"),
    "a circle": (numbers("1 S# -> S&\n", 9990) + "1 S9990 -> S0\n1 Sentence -> S0\n", "a", "can begin with itself"),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
@pytest.mark.parametrize("case", TOO_MUCH)
def test_grammars_that_would_take_too_much_are_refused_in_bounded_memory(tmp_path, case):
    grammar, line, says = TOO_MUCH[case]
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20,) * 2);"
        "from minilstm.text.corpus import load_corpus; from minilstm.text.grammar import oracle_perplexity;"
        "oracle_perplexity(load_corpus(sys.argv[1]))"
    )
    grammar = grammar if "Sentence ->" in grammar else f"1 Sentence -> a\n{grammar}"
    directory = write_corpus(tmp_path, grammar, line)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, directory]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("minilstm.errors.UserError: ")
    assert says in last


@pytest.mark.parametrize(
    ("grammar", "says"),
    [
        ("variable x =  \n1 Sentence -> $x\n", "neither"),
        ("1 Sentence A -> b\n", "left side is one symbol"),
        ("9" * 500 + " Sentence -> b\n", "neither"),
        ("0 Sentence -> b\n", "neither"),
        ("\n", "Sentence has no rule"),
    ],
)
def test_lines_that_are_no_rules_are_refused(tmp_path, grammar, says):
    with pytest.raises(UserError, match=says):
        read_grammar(write_corpus(tmp_path, grammar, "a b") / "grammar.txt")


def test_many_variables_of_a_rule_are_looked_up_once(tmp_path):
    names = [chr(0x4E00 + n) for n in range(480)]
    line = f"1 S[{' '.join(names)}] -> a\n"
    (tmp_path / "grammar.txt").write_text(
        "".join(f"variable {n} = {n}\n" for n in names) + line * 200 + "1 Sentence -> a\n"
    )
    assert len(read_grammar(tmp_path / "grammar.txt").rules) == 2  # in half a second, not in many


def test_a_text_with_endless_derivations_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("minilstm.text.grammar.MAX_STEPS", 1_000_000)
    grammar = "1 Sentence -> a Sentence\n1 Sentence -> a Sentence Sentence\n1 Sentence -> a\n"
    directory = write_corpus(tmp_path, grammar, "a")
    with pytest.raises(UserError, match="steps in the derivations"):
        read_grammar(directory / "grammar.txt").log_probabilities(["a"] * 100_000)


def test_what_is_printed_of_a_grammar_is_one_line_without_control_characters(tmp_path, capsys):
    (tmp_path / "grammar.txt").write_text("1 Sentence -> X\x1b[31mRED\a\n")
    assert main([str(tmp_path)]) == 2
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--tokens", "many\x1b"])
    first, second = capsys.readouterr().err.splitlines()
    assert "needs X\\x1b[31mRED\\x07, which has no rule" in first
    assert "invalid int value: 'many\\x1b'" in second


@pytest.mark.parametrize(
    "grammar", ["1 Sentence -> a Sentence\n", "3 Sentence -> a Sentence Sentence\n1 Sentence -> b\n"]
)
def test_a_grammar_of_endless_sentences_generates_no_corpus(tmp_path, capsys, grammar):
    (tmp_path / "grammar.txt").write_text(grammar)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "more than 10,000 words in a sentence" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["grammar.txt"]


def unlikely(levels):
    """A grammar in which the word "rare" has the probability 1e-9 to the power of `levels`."""
    rules = numbers("999999999 S# -> often\n1 S# -> S&\n", levels)
    return f"1 Sentence -> S0\n{rules}1 S{levels} -> rare\n"


@pytest.mark.parametrize("levels", [34, 35, 36, 90])
def test_words_of_almost_no_probability_are_refused(tmp_path, levels):
    directory = write_corpus(tmp_path, unlikely(levels), "rare")
    with pytest.raises(UserError, match="gives 'rare' the probability"):
        oracle_perplexity(load_corpus(directory))


def test_the_floor_of_the_least_likely_words_is_a_number(tmp_path):
    directory = write_corpus(tmp_path, unlikely(33), "rare")
    floor = oracle_perplexity(load_corpus(directory))
    assert math.log(floor) == pytest.approx(59 / 119 * 33 * 9 * math.log(10))  # 59 rare words, 60 <eos>
