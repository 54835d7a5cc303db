"""minilstm plot: the curves of runs."""

from argparse import ArgumentTypeError, Namespace

from minilstm.arguments import Parser, path, print_error
from minilstm.errors import escape_control_chars
from minilstm.runs.curves import PANELS

DESCRIPTION = "Plot the perplexity curves of one or more runs."
REST = "runs"  # may also stand after flags
EXAMPLE = "minilstm plot runs/small runs/medium -o curves.png"


def add_flags(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", type=path, metavar="run", help="directory of a run; up to 12")
    parser.add_argument(
        "-o", "--output", type=path, default="curves.png", metavar="FILE", help="PNG, SVG or PDF (curves.png)"
    )
    parser.add_argument(
        "--what",
        type=panel_names,
        default=["perplexity"],
        metavar="PANELS",
        help=f"panels from top to bottom, separated by commas, of {', '.join(PANELS)} (perplexity)",
    )
    parser.add_argument(
        "--band",
        action="store_true",
        help="the mean of runs that differ only in the seed, with a band from the least to the greatest value",
    )


def panel_names(text: str) -> list[str]:
    """Parse names of panels, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PANELS:
            raise ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(PANELS)})")
        if names.count(name) > 1:
            raise ArgumentTypeError(f"{name} is given twice")
    return names


def run(args: Namespace) -> None:
    from minilstm.runs.plot import plot_runs

    for note in plot_runs(args.runs, args.output, args.what, args.band):
        print_error(note)
    print(f"Curve: {escape_control_chars(str(args.output))}")
