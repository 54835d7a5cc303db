"""The command line: parsing, calling a command, and what is printed when it fails."""

import errno
import io
import os
import re
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Sequence
from shlex import quote

from minilstm import __version__, ranks
from minilstm.arguments import Parser, print_error, with_flags
from minilstm.commands import compare, download, evaluate, generate, gradcheck, plot, score, train
from minilstm.errors import UserError
from minilstm.flags import FLAG, explain_unknown

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "score": score,
    "generate": generate,
    "plot": plot,
    "compare": compare,
    "download": download,
    "gradcheck": gradcheck,
}

TOGETHER = "train", "evaluate"  # commands that several processes can share


def parse(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line. Unknown flags are reported with those that are probably meant."""
    parser = build_parser()
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments and FLAG.match(arguments[0]) and arguments[0] not in parser._option_string_actions:
        parser.error(f"write the command before {arguments[0]}")
    flags_end = arguments.index("--") if "--" in arguments else len(arguments)
    # argparse would read -hidden as -h idden; with three hyphens it does not know it
    typed = [re.sub(r"^-(?=[A-Za-z][A-Za-z_-]+(=|$))", "---", argument) for argument in arguments[:flags_end]]
    args, unknown = parser.parse_known_args(typed + arguments[flags_end:])
    rest = getattr(COMMANDS[args.command], "REST", None)
    if rest and not any(argument.startswith("-") for argument in unknown):  # argparse takes them only in one piece
        kind = next(action.type for action in args.parser._actions if action.dest == rest) or str
        getattr(args, rest).extend(map(kind, unknown))
        unknown = []
    if unknown:
        unknown = [re.sub("^---", "-", argument) for argument in unknown]
        takes_run = any(action.dest in ("run", "runs") for action in args.parser._actions)
        loose = getattr(COMMANDS[args.command], "LOOSE", None)
        if loose and not any(argument.startswith("-") for argument in unknown):
            args.parser.error(f"unknown: {' '.join(unknown)}; did you mean {loose} {quote(' '.join(unknown))}?")
        hints = explain_unknown(unknown, args.parser._option_string_actions, takes_run)
        args.parser.error(f"unknown: {' '.join(unknown)}{hints}")
    return args


def build_parser() -> Parser:
    """Build the parser of all commands."""
    parser = Parser(prog="minilstm", description="An LSTM language model with every gradient written by hand.")
    parser.add_argument("--version", action="version", version=f"minilstm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name, command in COMMANDS.items():
        text = command.DESCRIPTION
        sub = commands.add_parser(name, help=text, description=text, epilog=f"example: {command.EXAMPLE}")
        sub.set_defaults(parser=sub)
        command.add_flags(sub)
    return parser


def open_streams() -> None:
    """Make printing safe: replace closed streams by the null device, escape characters that cannot be encoded."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, open until the process ends
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; if this is one of several processes of an MPI job, an error ends all of them.

    Returns
    -------
    int
        The exit status: 2 for a user error, 130 for Ctrl-C, 141 if the output was closed.
    """
    open_streams()
    try:
        status = run(argv)
    except BaseException:
        if ranks.world is None:
            raise
        traceback.print_exc()
        status = 1
    ranks.leave(status)
    return status


def run(argv: Sequence[str] | None) -> int:
    """Run one command and report its errors; returns the exit status."""
    from minilstm.runs.signals import discard_output

    try:
        try:
            ranks.join()
            args = parse(argv)
            if ranks.world and args.command not in TOGETHER:
                raise UserError(f"{args.command} runs in one process; start it without mpiexec")
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # overflows are reported as errors
                status = COMMANDS[args.command].run(args) or 0
        except SystemExit as stop:  # argparse: --help, or an error
            status = stop.code if isinstance(stop.code, int) else 2
        sys.stdout.flush()  # here, where a failure can still be reported
        return status
    except UserError as error:
        print_error(f"error: {with_flags(str(error))}")
        return 2
    except MemoryError as error:
        print_error(f"error: out of memory ({error}); make the model or its batches smaller")
        return 2
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130
    except OSError as error:  # a problem of the environment, not a bug
        if error.filename is not None:
            print_error(f"error: cannot use {error.filename}: {error.strerror}")
            return 2
        discard_output()
        if error.errno in (errno.EPIPE, errno.EIO):  # head has exited, or the terminal was closed
            return 141
        print_error(f"error: cannot print: {error.strerror}; free some space or redirect the output")
        return 2
