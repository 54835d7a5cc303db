"""The toy language: a weighted grammar that can generate sentences and compute how likely one is.

    P(sentence) = product of the probabilities of its rules
    P(word | previous words) = P(prefix including the word) / P(prefix)

The probability of a prefix is a sum over all its partial derivations; each is a stack of the symbols still to be
derived, leftmost first. The perplexity of the true source on a text is therefore known exactly: it is the floor that no
model can be expected to beat. ``data/toy/grammar.txt`` explains the file format.

``python -m minilstm.text.grammar DIRECTORY`` generates train.txt, valid.txt and test.txt from its grammar.txt.
"""

import argparse
import itertools
import math
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

from minilstm.errors import UserError
from minilstm.files import StrPath, atomic_write, read_text
from minilstm.text.corpus import EOS, SPLITS, Corpus

Symbols: TypeAlias = tuple[str, ...]  # words and nonterminal symbols
Alternatives: TypeAlias = list[tuple[float, Symbols]]  # (probability, symbols) of each
GrammarState: TypeAlias = dict[Symbols, float]  # stack of symbols still to be derived -> its probability

START = "Sentence"
# Limits of memory and time for a grammar from an untrusted corpus; the toy grammar's values are in brackets.
MAX_RULES = 10_000  # (3,494)
MAX_EXPANSION = 2_000_000  # symbols in the expansions of all symbols up to their first words (216,748)
MAX_STEPS = 100_000_000  # steps in the derivations of a text (12,854,558 for the test split)


class Grammar:
    """A probabilistic context-free grammar; its rules are symbol -> list of (probability, right-hand side)."""

    def __init__(self, rules: dict[str, Alternatives]) -> None:
        self.rules = rules
        self.expansions: dict[str, dict[str, Alternatives]] = {}  # the results of first_words so far
        self.expansion_size = self.steps = 0  # counted against MAX_EXPANSION and MAX_STEPS

    def sample(self, rng: random.Random) -> list[str]:
        """Generate the words of one sentence."""
        words, stack = [], [START]
        while stack:
            symbol = stack.pop()
            if symbol in self.rules:
                stack.extend(reversed(sample_rule(self.rules[symbol], rng.random())))
            else:
                words.append(symbol)
        return words

    def first_words(self, symbol: str) -> dict[str, Alternatives]:
        """Expand a symbol up to its first word: word -> list of (probability, symbols after the word)."""
        if symbol not in self.rules:
            return {symbol: [(1.0, ())]}
        if symbol not in self.expansions:
            found: dict[str, Alternatives] = {}
            for probability, (first, *rest) in self.rules[symbol]:
                for word, tails in self.first_words(first).items():
                    self.expansion_size += sum(1 + len(tail) + len(rest) for _, tail in tails)
                    check_limit(self.expansion_size, MAX_EXPANSION, "symbols when expanded")
                    found.setdefault(word, []).extend((probability * p, (*tail, *rest)) for p, tail in tails)
            self.expansions[symbol] = found
        return self.expansions[symbol]

    def start(self) -> GrammarState:
        """The state before a sentence."""
        return {(START,): 1.0}

    def next_words(self, state: GrammarState) -> dict[str, float]:
        """The distribution of the next word, word -> probability; <eos> where the sentence can end."""
        probabilities: dict[str, float] = {}
        for stack, p in state.items():
            expansion = self.first_words(stack[0]) if stack else {EOS: [(1.0, ())]}
            for word, tails in expansion.items():
                probabilities[word] = probabilities.get(word, 0.0) + p * sum(q for q, _ in tails)
        return probabilities

    def advance(self, state: GrammarState, word: str) -> tuple[float, GrammarState]:
        """Read one word: its probability given the previous words, and the next state (empty if it is impossible)."""
        after: GrammarState = {}
        self.steps += len(state)
        tails_of = {top: self.first_words(top).get(word) for top in {stack[0] for stack in state if stack}}
        for stack, p in state.items():
            if stack and (tails := tails_of[stack[0]]):
                self.steps += len(tails) + len(stack)
                check_limit(self.steps, MAX_STEPS, "steps in the derivations of the text")
                for q, tail in tails:
                    rest = tail + stack[1:]
                    after[rest] = after.get(rest, 0.0) + p * q
            elif not stack and word == EOS:
                after[START,] = after.get((START,), 0.0) + p
        total = sum(after.values())
        return total, {stack: p / total for stack, p in after.items() if total}

    def log_probabilities(self, words: Sequence[str]) -> list[float]:
        """Log-probability of each word of a text given all previous words; sentences end with <eos>.

        Raises
        ------
        UserError
            At the first word that the grammar does not allow.
        """
        logs, self.steps, start = [], 0, self.start()
        state, begin = start, cache(partial(self.advance, start))  # thousands of stacks, but few different first words
        for n, word in enumerate(words):
            probability, state = begin(word) if state == start else self.advance(state, word)
            if not state:
                text = " ".join(words[max(0, n - 8) : n + 1])
                raise UserError(f"the grammar cannot generate {text!r}; generate the corpus again")
            logs.append(math.log(probability))
        return logs


def check_limit(number: int, limit: int, what: str) -> None:
    """Refuse a grammar that would take too much memory or time."""
    if number > limit:
        raise UserError(f"the grammar has more than {limit:,} {what}; simplify it, or move it away from the corpus")


def sample_rule(rules: Alternatives, u: float) -> Symbols:
    """The right-hand side selected by u, which is uniform in [0, 1)."""
    for probability, right in rules[:-1]:
        if u < probability:
            return right
        u -= probability
    return rules[-1][1]


def read_grammar(path: StrPath) -> Grammar:
    """Read a grammar file.

    Raises
    ------
    UserError
        If a line cannot be parsed, a symbol has no rule, or the grammar is left-recursive.
    """
    variables: dict[str, list[str]] = {}
    weights: dict[str, Alternatives] = {}
    num_rules = 0
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    for n, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        check_limit(len(line), 1000, f"characters in line {n}")
        check_limit(n, MAX_RULES, "lines")
        variable = re.fullmatch(r"variable (.+?) = (.*\S.*)", line)
        rule = re.fullmatch(r"(\d{1,9})\s+(\S.*?) -> (\S.*)", line)
        if variable:
            variables |= {name: variable[2].split() for name in variable[1].split()}
        elif rule and int(rule[1]):
            for left, right, fraction in substitute(rule[2], rule[3], variables):
                weights.setdefault(left, []).append((int(rule[1]) * fraction, right))
                num_rules += 1
                check_limit(num_rules, MAX_RULES, "rules")
        else:
            raise UserError(f"{path} line {n}: neither 'weight Symbol -> words' nor 'variable name = values': {line!r}")
    rules = {}
    for left, weighted in weights.items():
        total = sum(weight for weight, _ in weighted)
        rules[left] = [(weight / total, right) for weight, right in weighted]
    check_rules(path, rules)
    return Grammar(rules)


def substitute(left: str, right: str, variables: Mapping[str, list[str]]) -> Iterator[tuple[str, Symbols, float]]:
    """Substitute the variables of a rule: yields (left, right, fraction of the weight) for each combination."""
    used = re.findall(r"[\w']+", " ".join(re.findall(r"\[[^]]*\]|\$\w+", left + " " + right)))
    names = [name for name in dict.fromkeys(used) if name in variables]
    only_right = [name for name in names if name not in re.findall(r"\w+", left)]
    fraction = 1 / math.prod(len(variables[name]) for name in only_right)
    for values in itertools.product(*(variables[name] for name in names)):
        value = dict(zip(names, values, strict=True))

        def fill(match: re.Match[str], value: dict[str, str] = value) -> str:
            return re.sub(r"\$?(\w+)", lambda word: value.get(word[1], word[0]), match[0])

        sides = (re.sub(r"\[[^]]*\]|\$\w+", fill, side) for side in (left, right))
        left_symbols, right_symbols = (tuple(re.findall(r"\w+\[[^]]*\]|\S+", side)) for side in sides)
        if len(left_symbols) != 1:
            raise UserError(f"the grammar has a rule for {left!r}; the left side is one symbol")
        yield left_symbols[0], right_symbols, fraction


def check_rules(path: StrPath, rules: dict[str, Alternatives]) -> None:
    """Check that every symbol has a rule and that none is left-recursive, so that leftmost expansion terminates."""
    for left, alternatives in rules.items():
        for symbol in itertools.chain.from_iterable(right for _, right in alternatives):
            if symbol[0].isupper() and symbol not in rules:
                raise UserError(f"{path}: {left} needs {symbol}, which has no rule")
    if START not in rules:
        raise UserError(f"{path}: {START} has no rule")
    for left in rules:
        first_symbols, new = set[str](), {left}
        while new:
            new = {right[0] for symbol in new for _, right in rules.get(symbol, ())} - first_symbols
            first_symbols |= new
        if left in first_symbols:
            raise UserError(f"{path}: {left} can begin with itself; avoid left recursion")


def oracle_perplexity(corpus: Corpus) -> float | None:
    """Perplexity of the grammar itself on the test split after its first word; None for a corpus without a grammar."""
    if corpus.grammar is None:
        return None
    words = [corpus.vocabulary[id] for id in corpus.splits["test"]]
    try:
        logs = read_grammar(corpus.grammar).log_probabilities(words)[1:]
    except RecursionError:
        raise UserError(f"{corpus.grammar}: its rules are nested too deeply; simplify it") from None
    return math.exp(-sum(logs) / len(logs))


def write_corpus(directory: Path, seed: int, sizes: Mapping[str, int]) -> None:
    """Generate train.txt, valid.txt and test.txt, each of whole sentences and at least `sizes` tokens."""
    grammar, rng = read_grammar(directory / "grammar.txt"), random.Random(seed)
    for split, size in sizes.items():
        lines, tokens = [], 0
        while tokens < size:
            lines.append(" ".join(words := grammar.sample(rng)) + "\n")
            tokens += len(words) + 1
        atomic_write(directory / f"{split}.txt", "".join(lines))


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m minilstm.text.grammar``."""
    parser = argparse.ArgumentParser("python -m minilstm.text.grammar", description="Generate a corpus from a grammar.")
    parser.add_argument("directory", type=Path, help="directory of grammar.txt and of the three texts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=200_000, help="of train; valid and test get a tenth (200000)")
    args = parser.parse_args(argv)
    try:
        write_corpus(args.directory, args.seed, {split: args.tokens // 10 for split in SPLITS} | {"train": args.tokens})
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
