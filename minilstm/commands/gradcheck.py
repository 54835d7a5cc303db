"""minilstm gradcheck: every gradient against finite differences."""

from argparse import Namespace

from minilstm.arguments import Parser, add_device_flags, non_negative
from minilstm.commands.backend import select_backend

DESCRIPTION = "Compare every gradient with finite differences; exit with 1 if one is wrong."
EXAMPLE = "minilstm gradcheck"


def add_flags(parser: Parser) -> None:
    parser.add_argument("--seed", type=non_negative, default=0, help="seed of the random arrays (0)")
    add_device_flags(parser)


def run(args: Namespace) -> int:
    from minilstm.gradcheck_cases import BOUND, check_layers

    xp, kernels, note = select_backend(args)
    print(note)
    print(f"{'layer':16}{'parameter':20}{'checked':>16}{'max relative error':>22}")
    worst = 0.0
    for layer, result in check_layers(xp, kernels, seed=args.seed):
        checked, verdict = f"{result.checked} {result.by}", "" if result.error <= BOUND else "   WRONG"
        print(f"{layer:16}{result.name:20}{checked:>16}{result.error:>22.1e}{verdict}", flush=True)
        worst = max(worst, result.error)
    print(f"{'all gradients agree' if worst <= BOUND else 'GRADIENTS ARE WRONG'}: worst {worst:.1e}, bound {BOUND:.0e}")
    return 0 if worst <= BOUND else 1
