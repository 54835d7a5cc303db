"""minilstm evaluate: the perplexity of a trained model."""

import sys
from argparse import Namespace

from minilstm.arguments import Parser, add_data_flag, add_device_flags, print_error
from minilstm.commands.backend import select_backend

DESCRIPTION = "Print the perplexity of a trained model on a split."
EXAMPLE = "minilstm evaluate runs/small --split test"


def add_flags(parser: Parser) -> None:
    parser.add_argument("run", help="directory of a run")
    add_data_flag(parser, "the corpus the run was trained on")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="(test)")
    add_device_flags(parser)


def run(args: Namespace) -> None:
    from minilstm.evaluate import count_predictions, evaluate, format_perplexity
    from minilstm.runs.session import changed_splits, open_corpus, open_run

    xp, kernels, note = select_backend(args)
    state, _, description = open_run(args.run, xp)
    corpus = open_corpus(state, args.run, args.data or description["data"])
    config, ids = state.config, corpus.splits[args.split]
    perplexity = evaluate(state.params, config, args.split, ids, kernels, show_progress=sys.stderr.isatty())
    print(note, file=sys.stderr)  # only now: an error must be one line
    if not args.data and args.split in changed_splits(description, corpus):
        print_error(f"the {args.split} text has changed since {args.run} was trained")
    print(f"{args.split.capitalize()} Perplexity: {format_perplexity(perplexity)}")
    predicted = count_predictions(config, args.split, ids)
    streams = 1 if args.split == "test" else config.batch_size
    print(
        f"Words predicted: {predicted:,} of {len(ids):,}; "
        f"not predicted: {streams:,} at the start of a stream, {len(ids) - predicted - streams:,} at the end"
    )
