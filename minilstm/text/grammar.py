"""The toy language: a weighted grammar that can generate sentences and compute how likely one is.

    P(sentence) = product of the probabilities of its rules
    P(word | previous words) = P(prefix including the word) / P(prefix)

The probability of a prefix is a sum over all its partial derivations; each is a stack of the symbols still to be
derived, leftmost first. The perplexity of the true source on a text is therefore known exactly: it is the floor that no
model can be expected to beat. ``data/toy/grammar.txt`` explains the file format.

``python -m minilstm.text.grammar DIRECTORY`` generates train.txt, valid.txt and test.txt from its grammar.txt.
"""

import argparse
import math
import random
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

from minilstm.errors import UserError, one_line
from minilstm.files import StrPath, atomic_write
from minilstm.text.corpus import EOS, SPLITS, Corpus
from minilstm.text.rules import START, Alternatives, Rules, Symbols, check_limit, read_rules

GrammarState: TypeAlias = dict[Symbols, float]  # stack of symbols still to be derived -> its probability

# Limits of memory and time for an untrusted grammar, as in rules.py; the toy grammar's values are in brackets.
MAX_EXPANSION = 1_000_000  # symbols in the expansions of all symbols up to their first words (216,748)
MAX_STATE = 1_000_000  # symbols in the partial derivations of a prefix (56,892)
MAX_STEPS = 100_000_000  # the sum of those over a text (21,518,197 for the test split)
MAX_SENTENCE = 10_000  # words in a generated sentence
MIN_PROBABILITY = 1e-300  # of a word: smaller numbers lose their digits


class Grammar:
    """A probabilistic context-free grammar; its rules are symbol -> list of (probability, right-hand side)."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.expansions: dict[str, dict[str, Alternatives]] = {}  # the results of first_words so far
        self.expansion_size = self.steps = 0  # counted against MAX_EXPANSION and MAX_STEPS

    def sample(self, rng: random.Random) -> list[str]:
        """Generate the words of one sentence."""
        words: list[str] = []
        stack = [START]
        while stack:
            symbol = stack.pop()
            if symbol in self.rules:
                stack.extend(reversed(sample_rule(self.rules[symbol], rng.random())))
                check_limit(len(words) + len(stack), MAX_SENTENCE, "words in a sentence")  # each symbol is one or more
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
        tails_of = {top: self.first_words(top).get(word, []) for top in {stack[0] for stack in state if stack}}
        sizes = {top: sum(1 + len(tail) for _, tail in tails) for top, tails in tails_of.items()}
        built = len(state)
        for stack, p in state.items():
            if stack and (tails := tails_of[stack[0]]):
                built += sizes[stack[0]] + len(tails) * len(stack)
                check_limit(built, MAX_STATE, "symbols in the derivations of a prefix")
                for q, tail in tails:
                    rest = tail + stack[1:]
                    after[rest] = after.get(rest, 0.0) + p * q
            elif not stack and word == EOS:
                after[START,] = after.get((START,), 0.0) + p
        self.steps += built
        check_limit(self.steps, MAX_STEPS, "steps in the derivations of the text")
        total = sum(after.values())
        if after and total < MIN_PROBABILITY:
            raise UserError(f"the grammar gives {word!r} the probability {total:g}; make its rules' weights more equal")
        return total, {stack: p / total for stack, p in after.items()}

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
                raise UserError(
                    f"the grammar cannot generate {text!r}; generate the corpus again, or move grammar.txt away"
                )
            logs.append(math.log(probability))
        return logs


def sample_rule(rules: Alternatives, u: float) -> Symbols:
    """The right-hand side selected by u, which is uniform in [0, 1)."""
    for probability, right in rules[:-1]:
        if u < probability:
            return right
        u -= probability
    return rules[-1][1]


def read_grammar(path: StrPath) -> Grammar:
    """The grammar in a file; raises a UserError as `read_rules` does."""
    return Grammar(read_rules(path))


def oracle_perplexity(corpus: Corpus) -> float | None:
    """Perplexity of the grammar itself on the test split after its first word; None for a corpus without a grammar."""
    if corpus.grammar is None:
        return None
    words = [corpus.vocabulary[id] for id in corpus.splits["test"]]
    logs = read_grammar(corpus.grammar).log_probabilities(words)[1:]
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
    parser.error = lambda message: parser.exit(2, one_line(f"{parser.prog}: error: {message}") + "\n")  # type: ignore
    args = parser.parse_args(argv)
    try:
        write_corpus(args.directory, args.seed, {split: args.tokens // 10 for split in SPLITS} | {"train": args.tokens})
    except UserError as error:
        print(one_line(f"{parser.prog}: error: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
