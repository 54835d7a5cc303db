"""The toy language: a weighted grammar that can write sentences and say how likely one is.

    P(sentence) = product of its rules' probabilities            P(word | words before) = P(prefix with it) / P(prefix)

A prefix's probability is a sum over everything that the grammar could still be in the middle of: a stack of symbols
each, expanded from the left. So the perplexity of the true source on a text is known exactly: it is the floor that no
model can be expected to go below. ``data/toy/grammar.txt`` explains the file format.

Run as ``python -m minilstm.text.grammar DIRECTORY`` to write train.txt, valid.txt and test.txt beside its grammar.txt.
"""

import argparse
import itertools
import math
import random
import re
import sys
from functools import cache
from pathlib import Path

from minilstm.errors import UserError
from minilstm.files import atomic_write, read_text
from minilstm.text.corpus import EOS

START = "Sentence"
# Beyond these a grammar, which may come with somebody's corpus, would take all memory or time. The toy's are
MOST_RULES = 10_000  # 3,494,
MOST_WAYS = 2_000_000  # 216,748 symbols in all ways to begin,
MOST_WORK = 100_000_000  # and 7,730,671 ways to go on in its test text


class Grammar:
    """Rules of a language: symbol -> list of (probability, tuple of words and symbols)."""

    def __init__(self, rules):
        self.rules = rules
        self.first_words = cache(self.first_words)
        self.ways = self.work = 0  # how far MOST_WAYS and MOST_WORK are used up

    def sample(self, rng):
        """Write one sentence, a list of words; `rng` is a ``random.Random``."""
        words, stack = [], [START]
        while stack:
            symbol = stack.pop()
            if symbol not in self.rules:
                words.append(symbol)
                continue
            stack.extend(reversed(pick(self.rules[symbol], rng.random())))
        return words

    def first_words(self, symbol):
        """What `symbol` can begin with: word -> list of (probability, what has to follow)."""
        if symbol not in self.rules:
            return {symbol: [(1.0, ())]}
        found = {}
        for probability, (first, *rest) in self.rules[symbol]:
            for word, ways in self.first_words(first).items():
                self.ways += sum(1 + len(tail) + len(rest) for _, tail in ways)
                require_few(self.ways, MOST_WAYS, "ways to begin its symbols")
                found.setdefault(word, []).extend((probability * p, tail + tuple(rest)) for p, tail in ways)
        return found

    def start(self):
        """The state before a sentence: what has to follow -> its probability."""
        return {(START,): 1.0}

    def next_words(self, state):
        """Probability of each next word, a dict; <eos> where the sentence can end."""
        odds = {}
        for stack, p in state.items():
            ways = self.first_words(stack[0]) if stack else {EOS: [(1.0, ())]}
            for word, endings in ways.items():
                odds[word] = odds.get(word, 0.0) + p * sum(q for q, _ in endings)
        return odds

    def follow(self, state, word):
        """Read one word: its probability given those before, and the state after it (None: impossible)."""
        after = {}
        for stack, p in state.items():
            if stack:
                ways = self.first_words(stack[0]).get(word, ())
                self.work += len(ways) + len(stack)
                require_few(self.work, MOST_WORK, "ways to write the text")
                for q, tail in ways:
                    rest = tail + stack[1:]
                    after[rest] = after.get(rest, 0.0) + p * q
            elif word == EOS:
                after[START,] = after.get((START,), 0.0) + p
        total = sum(after.values())
        return (total, {stack: p / total for stack, p in after.items()}) if total else (0.0, None)

    def log_probabilities(self, words):
        """Log-probability of every word of a text, each given all before it; sentences end with <eos>.

        Raises
        ------
        UserError
            At a word that the grammar cannot have there.
        """
        state, logs, self.work = self.start(), [], 0
        for n, word in enumerate(words):
            probability, state = self.advance(state, word)
            if state is None:
                raise UserError(
                    f"the grammar cannot say {' '.join(words[max(0, n - 8) : n + 1])!r}; write the text again"
                )
            logs.append(math.log(probability))
        return logs


def require_few(number, most, what):
    """Refuse a grammar that cannot be followed within reason."""
    if number > most:
        raise UserError(f"the grammar has more than {most:,} {what}; make it smaller, or move it away from the corpus")


def pick(alternatives, dice):
    """The right side on which dice, uniform in [0, 1), falls."""
    for probability, right in alternatives[:-1]:
        if dice < probability:
            return right
        dice -= probability
    return alternatives[-1][1]


def read_grammar(path):
    """Read a grammar file.

    Raises
    ------
    UserError
        If a line is not understood, a symbol has no rule, or a symbol can begin with itself.
    """
    variables, weights, rules_read = {}, {}, 0
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        require_few(len(line), 1000, f"characters in line {number}")
        require_few(number, MOST_RULES, "lines")
        variable = re.fullmatch(r"variable (.+?) = (.*\S.*)", line)
        rule = re.fullmatch(r"(\d{1,9})\s+(\S.*?) -> (\S.*)", line)
        if variable:
            variables |= {name: variable[2].split() for name in variable[1].split()}
        elif rule and int(rule[1]):
            for left, right, share in instances(rule[2], rule[3], variables):
                weights.setdefault(left, []).append((int(rule[1]) * share, right))
                rules_read += 1
                require_few(rules_read, MOST_RULES, "rules")
        else:
            raise UserError(
                f"{path} line {number}: neither 'weight Symbol -> words' nor 'variable name = values': {line!r}"
            )
    rules = {}
    for left, weighted in weights.items():
        total = sum(weight for weight, _ in weighted)
        rules[left] = [(weight / total, right) for weight, right in weighted]
    check_rules(path, rules)
    return Grammar(rules)


def instances(left, right, variables):
    """A rule for each value of its variables: (left, right, share of the weight)."""
    used = re.findall(r"[\w']+", " ".join(re.findall(r"\[[^]]*\]|\$\w+", left + " " + right)))
    names = [name for name in dict.fromkeys(used) if name in variables]
    only_right = [name for name in names if name not in re.findall(r"\w+", left)]
    share = 1 / math.prod(len(variables[name]) for name in only_right)
    for values in itertools.product(*(variables[name] for name in names)):
        value = dict(zip(names, values, strict=True))

        def fill(match, value=value):
            return re.sub(r"\$?(\w+)", lambda word: value.get(word[1], word[0]), match[0])

        sides = (re.sub(r"\[[^]]*\]|\$\w+", fill, side) for side in (left, right))
        left_symbols, right_symbols = (tuple(re.findall(r"\w+\[[^]]*\]|\S+", side)) for side in sides)
        if len(left_symbols) != 1:
            raise UserError(f"the grammar has a rule for {left!r}; the left side is one symbol")
        yield left_symbols[0], right_symbols, share


def check_rules(path, rules):
    """Every symbol has a rule, and none can begin with itself: reading from the left always gets to a word."""
    for left, alternatives in rules.items():
        for symbol in itertools.chain.from_iterable(right for _, right in alternatives):
            if symbol[0].isupper() and symbol not in rules:
                raise UserError(f"{path}: {left} needs {symbol}, which has no rule")
    if START not in rules:
        raise UserError(f"{path}: {START} has no rule")
    for left in rules:
        begins, new = set(), {left}
        while new:
            new = {right[0] for symbol in new for _, right in rules.get(symbol, ())} - begins
            begins |= new
        if left in begins:
            raise UserError(f"{path}: {left} can begin with itself; begin one of its rules with a word")


def oracle_perplexity(corpus):
    """Perplexity of the true source on the test split, each word after the first; None if no grammar.txt is there."""
    if corpus.grammar is None:
        return None
    words = [corpus.vocabulary[id] for id in corpus.splits["test"]]
    try:
        logs = read_grammar(corpus.grammar).log_probabilities(words)[1:]
    except RecursionError:
        raise UserError(f"{corpus.grammar}: its rules begin with one another too deeply; make it flatter") from None
    return math.exp(-sum(logs) / len(logs))


def write_corpus(directory, seed, sizes):
    """Write train.txt, valid.txt and test.txt, each the first sentences that make up `sizes` tokens."""
    grammar = read_grammar(Path(directory) / "grammar.txt")
    rng = random.Random(seed)
    for split, size in sizes.items():
        lines, tokens = [], 0
        while tokens < size:
            words = grammar.sample(rng)
            tokens += len(words) + 1
            lines.append(" ".join(words) + "\n")
        atomic_write(Path(directory) / f"{split}.txt", "".join(lines))


def main(argv=None):
    """``python -m minilstm.text.grammar``."""
    parser = argparse.ArgumentParser(
        prog="python -m minilstm.text.grammar", description="Write a toy corpus from its grammar."
    )
    parser.add_argument("directory", help="where grammar.txt is and the three texts go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--tokens", type=int, default=200_000, help="training tokens; valid and test get a tenth (200000)"
    )
    args = parser.parse_args(argv)
    try:
        write_corpus(
            args.directory, args.seed, {"train": args.tokens, "valid": args.tokens // 10, "test": args.tokens // 10}
        )
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
