"""How the ranks of an MPI job begin a run: rank 0 opens it and gives the others what they need to train.

Every rank reads the text, so a difference is noticed. Only rank 0 reads and writes in the run's directory.
"""

from typing import Any

from minilstm import ranks
from minilstm.device import to_host, use_precision
from minilstm.errors import UserError
from minilstm.files import StrPath
from minilstm.runs.checkpoint import map_arrays, on_device
from minilstm.runs.recorder import describe_machine
from minilstm.step import TrainState
from minilstm.text.corpus import Corpus, fingerprints_of_text, load_corpus
from minilstm.types import ArrayModule


def share(state: TrainState, corpus: Corpus, text: StrPath | None, words: list[str] | None) -> None:
    """On rank 0, before anything is written: give the others a run's train state, its text and words (None: its own).

    Without other ranks nothing is done.

    Raises
    ------
    UserError
        If the batch cannot be divided among the ranks, or they see different texts or compute differently.
    """
    if ranks.world is None:
        return
    B, R = state.config.batch_size, ranks.world.size
    if B % R:
        raise UserError(f"batch_size {B} cannot be divided among {R} processes; start as many as divide it")
    ranks.world.comm.bcast((map_arrays(state, to_host), text, words))
    ranks.require_same(ranks.world, facts_of(state, corpus))


def follow(world: ranks.Ranks, xp: ArrayModule) -> tuple[TrainState, Corpus]:
    """On the other ranks, in place of `new_run` or `resume_run`: the train state of rank 0, and the corpus."""
    state, text, words = world.comm.bcast(None)
    corpus = load_corpus(text, state.config.min_count, state.config.unit, words)
    use_precision(xp, state.config.precision)
    state = on_device(state, xp)
    ranks.require_same(world, facts_of(state, corpus))
    return state, corpus


def facts_of(state: TrainState, corpus: Corpus) -> dict[str, Any]:
    """What must be the same on all ranks for them to compute the same, bit for bit."""
    texts = {f"the {split} text": digest[:16] for split, digest in fingerprints_of_text(corpus).items()}
    machine = describe_machine(state)
    computes = {"the arrays": "arrays", "the instructions of exp": "exp", "the BLAS": "blas"}
    return texts | {"the vocabulary": state.vocabulary[:16]} | {name: machine[key] for name, key in computes.items()}
