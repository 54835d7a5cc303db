"""minilstm compare: several runs as a table."""

from argparse import Namespace

from minilstm.arguments import Parser, path, print_error

DESCRIPTION = "Print a table of runs: the hyperparameters in which they differ, and their results."
REST = "runs"  # may also stand after flags
EXAMPLE = "minilstm compare runs/small runs/medium"
COLUMNS = (
    "run; each hyperparameter in which the runs differ; text, if they have read different texts; epochs finished; "
    "parameters; time to train these epochs: of each, its words divided by its words per second, without evaluation "
    "(the speed of an epoch that was interrupted is that after it was resumed); train, valid, test: perplexities of "
    "the last epoch; best epoch: that with the lowest validation perplexity, with the same of its model. Perplexities "
    "per character are followed by bits per character. What is not known is left empty."
)


def add_flags(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", type=path, metavar="run", help="directory of a run")
    parser.add_argument(
        "--format",
        choices=("markdown", "csv"),
        default="markdown",
        help="a Markdown table, or CSV with all digits of metrics.csv, perplexities only, and the time in seconds "
        "(markdown)",
    )
    parser.add_argument_group("columns", COLUMNS)


def run(args: Namespace) -> None:
    from minilstm.runs.compare import compare_runs, to_csv, to_markdown

    rows, notes = compare_runs(args.runs)
    for note in notes:
        print_error(note)
    print((to_csv if args.format == "csv" else to_markdown)(rows), end="")
