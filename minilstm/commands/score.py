"""minilstm score: the probability of sentences, word by word."""

from argparse import Namespace
from collections.abc import Iterator

import numpy as np

from minilstm.arguments import Parser, add_device_flags, add_which_flag, path, print_error
from minilstm.commands.backend import select_backend
from minilstm.errors import UserError, escape_control_chars
from minilstm.evaluate import format_perplexity
from minilstm.text.corpus import EOS, UNK
from minilstm.text.reading import as_file, iter_text
from minilstm.types import Array

DESCRIPTION = "Print how probable a trained model finds each word of a sentence."
EXAMPLE = 'minilstm score runs/small "the company said it expects a profit"'

REST = "sentences"  # may also stand after flags
MAX_LINE = 1_000_000  # characters of a sentence


def add_flags(parser: Parser) -> None:
    parser.add_argument("run", type=path, help="directory of a run")
    parser.add_argument("sentences", nargs="*", metavar="sentence", help="a sentence (standard input, one per line)")
    parser.add_argument("--file", type=path, metavar="FILE", help="a text file with one sentence per line")
    parser.add_argument(
        "--plot", type=path, metavar="FILE", help="also draw the words, coloured by surprise: PNG, SVG or PDF"
    )
    add_which_flag(parser)
    add_device_flags(parser)


def run(args: Namespace) -> None:
    from minilstm.generate import encode_prompt, quoted
    from minilstm.runs.session import open_run
    from minilstm.runs.surprise import plot_surprise
    from minilstm.score import score

    if args.sentences and args.file:
        raise UserError("give sentences or --file, not both")
    xp, kernels, _ = select_backend(args)
    state, vocabulary, _ = open_run(args.run, xp, args.which)
    unit, end = state.config.unit, [vocabulary.index(EOS)] if EOS in vocabulary else []
    encoded = [encode_prompt(sentence, vocabulary, unit) for sentence in read_sentences(args)]
    if not encoded:
        raise UserError(f"{args.file or 'standard input'} has no sentence; write one per line")
    if unknown := {word: None for _, words in encoded for word in words}:
        print_error(f"the model reads {quoted(list(unknown))} as {UNK}")
    scored = []  # (tokens, bits) of each sentence
    for ids, _ in encoded:
        bits = -score(state.params, state.config, vocabulary, ids + end, kernels) / np.log(2)
        tokens = [vocabulary[id] for id in ids + end]
        print_sentence(tokens, bits, unit)
        scored.append((tokens, bits))
    if len(scored) > 1:
        print(f"All {len(scored):,} sentences: {summary(np.concatenate([bits for _, bits in scored]), unit)}")
    if args.plot:
        plot_surprise(scored, args.plot, unit)
        print(escape_control_chars(f"Picture: {args.plot}"))


def read_sentences(args: Namespace) -> Iterator[str]:
    """The sentences given on the command line, or the lines of a file or of standard input."""
    if args.sentences:
        yield from args.sentences
        return
    with as_file(args.file or "-") as path:
        line = ""
        for chunk in iter_text(path):
            line += chunk
            if len(line) > MAX_LINE:
                raise UserError(f"{args.file or 'standard input'} has a line of over {MAX_LINE:,} characters; break it")
            if chunk.endswith("\n"):
                yield line[:-1]
                line = ""
        if line:
            yield line


def print_sentence(tokens: list[str], bits: Array, unit: str) -> None:
    """Print each token with its probability and surprise, and the perplexity of the sentence."""
    print(f"{'probability':>12}{'bits':>8}  token")
    for token, surprise in zip(tokens, bits, strict=True):
        print(f"{2.0**-surprise:12.4g}{surprise:8.2f}  {escape_control_chars(token)}")
    print(summary(bits, unit) + "\n")


def summary(bits: Array, unit: str) -> str:
    """The perplexity of a text from the surprise of its tokens."""
    return f"perplexity {format_perplexity(2.0 ** bits.mean(), unit)}; {bits.sum():.2f} bits, {len(bits):,} tokens"
