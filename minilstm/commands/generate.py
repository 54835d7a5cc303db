"""minilstm generate: text from a trained model."""

import sys
from argparse import Namespace

from minilstm.arguments import Parser, add_device_flags, non_negative, positive
from minilstm.commands.backend import select_backend
from minilstm.errors import escape_control_chars
from minilstm.text.corpus import EOS, UNK

DESCRIPTION = "Generate text with a trained model."
EXAMPLE = 'minilstm generate runs/small --prompt "the company said" --temperature 0.8'


def add_flags(parser: Parser) -> None:
    parser.add_argument("run", help="directory of a run")
    parser.add_argument("--prompt", default="", help="words to continue from (the start of a sentence)")
    parser.add_argument("--words", type=positive, default=100, metavar="N", help="number of words (100)")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="below 1 sharper, above 1 flatter, 0 greedy (1.0)"
    )
    parser.add_argument("--seed", type=non_negative, default=0, help="the same seed gives the same text (0)")
    add_device_flags(parser)


def run(args: Namespace) -> None:
    from minilstm.generate import encode_prompt, generate
    from minilstm.runs.session import open_run

    xp, kernels, _ = select_backend(args)
    state, vocabulary, _ = open_run(args.run, xp)
    prompt, unknown = encode_prompt(args.prompt, vocabulary)
    words = generate(state.params, state.config, vocabulary, prompt, args.words, args.temperature, args.seed, kernels)
    if unknown:
        print(f"minilstm: the model reads {', '.join(map(repr, unknown))} as {UNK}", file=sys.stderr)
    line_start = not prompt
    print(*map(escape_control_chars, args.prompt.split()), end="")
    for word in words:
        text = "\n" if word == EOS else escape_control_chars(word if line_start else f" {word}")
        print(text, end="", flush=True)
        line_start = word == EOS
    print()
