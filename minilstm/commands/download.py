"""minilstm download: fetch a corpus."""

import os
from argparse import Namespace
from shlex import quote

from minilstm.arguments import Parser, path
from minilstm.errors import escape_control_chars

DESCRIPTION = "Download a corpus and verify its checksums."
EXAMPLE = "minilstm download ptb"
NEXT = {  # the model to train on a corpus, and on which file
    "ptb": ("small", ""),
    "tinyshakespeare": ("char", "input.txt"),
}


def add_flags(parser: Parser) -> None:
    parser.add_argument(
        "corpus",
        choices=NEXT,
        help="ptb: Mikolov's Penn Treebank files (6 MB, licensed); tinyshakespeare: char-rnn's 1 MB of plays",
    )
    parser.add_argument("--out", type=path, metavar="DIR", help="destination directory (data/<corpus>)")


def run(args: Namespace) -> None:
    from minilstm.text.download import download
    from minilstm.text.published import CORPORA

    directory, (model, file) = args.out or f"data/{args.corpus}", NEXT[args.corpus]
    source = download(directory, *CORPORA[args.corpus])
    origin = f"downloaded from {source}" if source else "already present"
    print(escape_control_chars(f"{directory}: {origin}; every SHA-256 is correct"))
    if args.corpus == "ptb":
        print("The text is licensed for research.", end=" ")
    data = quote(os.path.join(directory, file) if file else directory)
    print(escape_control_chars(f"Next: minilstm train --model {model} --data {data}"))
