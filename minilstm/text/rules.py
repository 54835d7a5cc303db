"""Reading a grammar: the rules of a probabilistic context-free grammar from a text file, within limits.

``data/toy/grammar.txt`` explains the file format. The grammar of an untrusted corpus is read too, so all that is built
from it is counted. The values of the toy grammar are in brackets.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

from minilstm.errors import UserError
from minilstm.files import StrPath, read_text

Symbols: TypeAlias = tuple[str, ...]  # words and nonterminal symbols
Alternatives: TypeAlias = list[tuple[float, Symbols]]  # (probability, symbols) of each
Rules: TypeAlias = dict[str, Alternatives]  # symbol -> its alternatives, whose probabilities sum to 1

START = "Sentence"
MAX_BYTES = 1_000_000  # of the file (9,882)
MAX_CHARACTERS = 1000  # of a line, and of a rule with its variables substituted (123)
MAX_RULES = 10_000  # (3,494)
MAX_SYMBOLS = 200_000  # in all rules (42,768)
MAX_DEPTH = 100  # rules between a symbol and its first word (4)


def read_rules(path: StrPath) -> Rules:
    """Read a grammar file.

    Raises
    ------
    UserError
        If a line cannot be parsed, a symbol has no rule, the grammar is left-recursive, or a limit is exceeded.
    """
    variables: dict[str, list[str]] = {}
    weights: dict[str, Alternatives] = {}
    num_rules = num_symbols = 0
    try:
        text = read_text(path, MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    for n, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        check_limit(len(line), MAX_CHARACTERS, f"characters in line {n}")
        variable = re.fullmatch(r"variable (.+?) = (.*\S.*)", line)
        rule = re.fullmatch(r"(\d{1,9})\s+(\S.*?) -> (\S.*)", line)
        if variable:
            values = variable[2].split()  # one list for all names
            variables |= dict.fromkeys(variable[1].split(), values)
        elif rule and int(rule[1]):
            for left, right, fraction in substitute(rule[2], rule[3], variables):
                num_rules += 1
                num_symbols += len(right)
                check_limit(num_rules, MAX_RULES, "rules")
                check_limit(num_symbols, MAX_SYMBOLS, "symbols in its rules")
                weights.setdefault(left, []).append((int(rule[1]) * fraction, right))
        else:
            raise UserError(f"{path} line {n}: neither 'weight Symbol -> words' nor 'variable name = values': {line!r}")
    rules = {}
    for left, weighted in weights.items():
        total = sum(weight for weight, _ in weighted)
        rules[left] = [(weight / total, right) for weight, right in weighted]
    check_rules(path, rules)
    return rules


def substitute(left: str, right: str, variables: Mapping[str, list[str]]) -> Iterator[tuple[str, Symbols, float]]:
    """Substitute the variables of a rule: yields (left, right, fraction of the weight) for each combination."""
    used = re.findall(r"[\w']+", " ".join(re.findall(r"\[[^]]*\]|\$\w+", left + " " + right)))
    names = [name for name in dict.fromkeys(used) if name in variables]
    left_names = set(re.findall(r"\w+", left))
    only_right = [name for name in names if name not in left_names]
    combinations = math.prod(len(variables[name]) for name in only_right)
    check_limit(combinations, MAX_RULES, "rules")
    for values in itertools.product(*(variables[name] for name in names)):
        value = dict(zip(names, values, strict=True))

        def fill(match: re.Match[str], value: dict[str, str] = value) -> str:
            return re.sub(r"\$?(\w+)", lambda word: value.get(word[1], word[0]), match[0])

        sides = [re.sub(r"\[[^]]*\]|\$\w+", fill, side) for side in (left, right)]
        check_limit(sum(map(len, sides)), MAX_CHARACTERS, "characters in a rule")
        left_symbols, right_symbols = (tuple(re.findall(r"\w+\[[^]]*\]|\S+", side)) for side in sides)
        if len(left_symbols) != 1:
            raise UserError(f"the grammar has a rule for {left!r}; the left side is one symbol")
        yield left_symbols[0], right_symbols, 1 / combinations


def check_rules(path: StrPath, rules: Rules) -> None:
    """Check that every symbol has a rule, and that every symbol leads to a first word within MAX_DEPTH rules."""
    for left, alternatives in rules.items():
        for symbol in itertools.chain.from_iterable(right for _, right in alternatives):
            if symbol[0].isupper() and symbol not in rules:
                raise UserError(f"{path}: {left} needs {symbol}, which has no rule")
    if START not in rules:
        raise UserError(f"{path}: {START} has no rule")
    beginnings = {left: {right[0] for _, right in alternatives} for left, alternatives in rules.items()}
    depth: dict[str, int] = {}
    try:
        for symbol in TopologicalSorter(beginnings).static_order():  # the beginnings of a symbol come before it
            depth[symbol] = 1 + max((depth[first] for first in beginnings.get(symbol, ())), default=-1)
            check_limit(depth[symbol], MAX_DEPTH, f"rules from {symbol} to its first word")
    except CycleError as error:
        raise UserError(f"{path}: {error.args[1][0]} can begin with itself; avoid left recursion") from None


def check_limit(number: int, limit: int, what: str) -> None:
    """Refuse a grammar that would take too much memory or time."""
    if number > limit:
        raise UserError(f"the grammar has more than {limit:,} {what}; simplify it, or move it away from the corpus")
