"""minilstm plot: the curves of runs."""

from argparse import Namespace

from minilstm.arguments import Parser
from minilstm.errors import escape_control_chars

DESCRIPTION = "Plot the perplexity curves of one or more runs."
EXAMPLE = "minilstm plot runs/small runs/medium -o curves.png"


def add_flags(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", metavar="run", help="directory of a run")
    parser.add_argument("-o", "--output", default="curves.png", metavar="FILE", help="PNG, SVG or PDF (curves.png)")


def run(args: Namespace) -> None:
    from minilstm.runs.plot import plot_runs

    plot_runs(args.runs, args.output)
    print(f"Curve: {escape_control_chars(str(args.output))}")
