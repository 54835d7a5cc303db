"""minilstm generate: text from a trained model."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable
from itertools import chain

from minilstm.arguments import Parser, add_device_flags, add_which_flag, non_negative, path, positive, print_error
from minilstm.commands.backend import select_backend
from minilstm.errors import escape_control_chars
from minilstm.text.corpus import EOS, UNK

DESCRIPTION = "Generate text with a trained model."
LOOSE = "--prompt"  # what a word without a flag is probably meant for
EXAMPLE = 'minilstm generate runs/small --prompt "the company said" --temperature 0.8'


def add_flags(parser: Parser) -> None:
    parser.add_argument("run", type=path, help="directory of a run")
    parser.add_argument(
        "--prompt", default="", help="words to continue from; a newline is <eos> (the start of a sentence)"
    )
    parser.add_argument("--words", type=positive, default=100, metavar="N", help="number of words (100)")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="below 1 sharper, above 1 flatter, 0 greedy (1.0)"
    )
    parser.add_argument("--top-k", type=positive, metavar="K", help="draw only from the K likeliest words (all)")
    parser.add_argument(
        "--top-p",
        type=probability,
        default=1.0,
        metavar="P",
        help="draw only from the fewest likeliest words with a total probability of at least P (1.0)",
    )
    parser.add_argument("--no-unk", action="store_true", help=f"never generate {UNK}")
    parser.add_argument(
        "--samples", type=positive, default=1, metavar="N", help="number of texts, of seeds SEED, SEED + 1, ... (1)"
    )
    parser.add_argument("--seed", type=non_negative, default=0, help="the same seed gives the same text (0)")
    add_which_flag(parser)
    add_device_flags(parser)


def probability(text: str) -> float:
    """Parse a number greater than 0 and at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ArgumentTypeError(f"{text!r} is not a number greater than 0 and at most 1")
    return value


def run(args: Namespace) -> None:
    from minilstm.generate import encode_prompt, generate, quoted, split_prompt
    from minilstm.runs.session import open_run

    xp, kernels, _ = select_backend(args)
    state, vocabulary, _ = open_run(args.run, xp, args.which)
    unit = state.config.unit
    prompt, unknown = encode_prompt(args.prompt, vocabulary, unit)
    for seed in range(args.seed, args.seed + args.samples):
        words = generate(
            state.params,
            state.config,
            vocabulary,
            prompt,
            args.words,
            args.temperature,
            seed,
            kernels,
            top_k=args.top_k,
            top_p=args.top_p,
            no_unk=args.no_unk,
        )
        if unknown and seed == args.seed:
            print_error(f"the model reads {quoted(unknown)} as {UNK}")
        if args.samples > 1:
            print(f"--- sample {seed - args.seed + 1}, --seed {seed} ---")
        print_text(chain(split_prompt(args.prompt, unit), words), "" if unit == "char" else " ")


def print_text(tokens: Iterable[str], separator: str) -> None:
    """Print each token as soon as it is there; <eos> ends a line."""
    line_start = True
    for token in tokens:
        text = "\n" if token == EOS else escape_control_chars(token if line_start else separator + token)
        print(text, end="", flush=True)
        line_start = token == EOS
    print()
