"""minilstm download: fetch a corpus."""

from argparse import Namespace
from shlex import quote

from minilstm.arguments import Parser, path
from minilstm.errors import escape_control_chars

DESCRIPTION = "Download a corpus and verify its checksums."
EXAMPLE = "minilstm download ptb"


def add_flags(parser: Parser) -> None:
    parser.add_argument("corpus", choices=("ptb",), help="ptb: Mikolov's Penn Treebank files (6 MB, licensed)")
    parser.add_argument("--out", type=path, default="data/ptb", metavar="DIR", help="destination directory (data/ptb)")


def run(args: Namespace) -> None:
    from minilstm.text.download import download_ptb

    source = download_ptb(args.out)
    origin = f"downloaded from {source}" if source else "already present"
    print(escape_control_chars(f"{args.out}: {origin}; every SHA-256 is correct"))
    print("The text is licensed for research.", end=" ")
    print(escape_control_chars(f"Next: minilstm train --model small --data {quote(args.out)}"))
