"""minilstm evaluate: the perplexity of a trained model."""

import hashlib
import os
import sys
from argparse import Namespace

from minilstm import ranks
from minilstm.arguments import Parser, add_device_flags, add_which_flag, path, positive, print_error
from minilstm.commands.backend import select_backend
from minilstm.commands.texts import print_unknown_shares
from minilstm.errors import UserError
from minilstm.text.corpus import UNK, load_corpus, load_text, unknown_share

DESCRIPTION = "Print the perplexity of a trained model on a split. Under mpiexec the processes share its streams."
LOOSE = "--data"  # what a word without a flag is probably meant for
EXAMPLE = "minilstm evaluate runs/small --split test"


def add_flags(parser: Parser) -> None:
    parser.add_argument("run", type=path, help="directory of a run")
    parser.add_argument(
        "--data",
        type=path,
        metavar="PATH",
        help="directory of a corpus, or any text file (the corpus the run was trained on)",
    )
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test"),
        help="split of the corpus (test); a text file given as --data is one whole text without it",
    )
    group = parser.add_argument_group("also, on the text as one stream; choose the values on the valid split")
    group.add_argument("--cache", type=positive, metavar="N", help="with a cache of the last N words")
    group.add_argument("--cache-theta", type=float, metavar="THETA", help="sharpness of the cache's resemblance (0.3)")
    group.add_argument("--cache-lambda", type=float, metavar="LAMBDA", help="share of the cache in a probability (0.1)")
    group.add_argument("--dynamic", type=float, metavar="RATE", help="while learning from the text that has been read")
    add_which_flag(parser)
    add_device_flags(parser)


def run(args: Namespace) -> None:
    from minilstm.cache import evaluate_with_cache
    from minilstm.dynamic import evaluate_dynamically
    from minilstm.evaluate import count_predictions, evaluate, format_perplexity
    from minilstm.runs.session import absolute, changed_splits, open_run, own_text

    for flag, value in (("--cache-theta", args.cache_theta), ("--cache-lambda", args.cache_lambda)):
        if value is not None and not args.cache:
            raise UserError(f"{flag} is of a cache; give its size, too: --cache 500")
    xp, kernels, note = select_backend(args)
    state, vocabulary, description = open_run(args.run, xp, args.which)
    config, split, name = state.config, args.split or "test", args.split or "test"
    own = not args.data or absolute(args.data) == description["data"]  # the text that the run was trained on
    if args.data and not args.split and not os.path.isdir(args.data):
        name, ids, changed = "text", load_text(args.data, vocabulary, config.unit), False
    else:
        corpus = load_corpus(args.data or own_text(args.run, description), unit=config.unit, vocabulary=vocabulary)
        ids, changed = corpus.splits[split], own and split in changed_splits(description, corpus)
    if ranks.world:
        what = {"the text": hashlib.sha256(ids.tobytes()).hexdigest()[:16], "the weights": ranks.digest_of(state)[:16]}
        ranks.require_same(ranks.world, what)
    if len(ids) < 2:
        raise UserError(f"{args.data} has {len(ids)} token; give at least 2")
    also, progress = [], sys.stderr.isatty()
    if args.cache:
        size = args.cache
        theta = 0.3 if args.cache_theta is None else args.cache_theta
        share = 0.1 if args.cache_lambda is None else args.cache_lambda
        value = evaluate_with_cache(state.params, config, ids, size, theta, share, kernels, progress)
        also.append((f"a cache of {size} words (theta {theta:g}, lambda {share:g})", value))
    if args.dynamic is not None:
        value = evaluate_dynamically(state.params, config, ids, args.dynamic, kernels, progress)
        also.append((f"dynamic evaluation (rate {args.dynamic:g})", value))
    perplexity = evaluate(state.params, config, split, ids, kernels, show_progress=progress)
    print(note, file=sys.stderr)  # only now: an error must be one line
    if changed:
        print_error(f"the {split} text has changed since {args.run} was trained")
    print(f"{name.capitalize()} Perplexity: {format_perplexity(perplexity, config.unit)}")
    predicted = count_predictions(config, split, ids)
    streams = 1 if split == "test" else config.batch_size
    print(
        f"{'Words' if config.unit == 'word' else 'Characters'} predicted: {predicted:,} of {len(ids):,}; "
        f"not predicted: {streams:,} at the start of a stream, {len(ids) - predicted - streams:,} at the end"
    )
    for how, value in also:
        print(f"{name.capitalize()} Perplexity with {how}: {format_perplexity(value, config.unit)}")
    if UNK in vocabulary:
        print_unknown_shares({name: unknown_share(ids, vocabulary)}, config.unit, own)
