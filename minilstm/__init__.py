"""minilstm: the PTB LSTM language model of Zaremba et al. (arXiv 1409.2329), with every gradient written by hand.

Read in this order:

1. layers/lstm.py              the LSTM, forward and backward
2. layers/embedding.py, dropout.py, linear.py, softmax.py
3. model.py                    the stack of layers, and the gradients of the whole model
4. optim.py                    clipping, SGD, Adam, the learning-rate schedule
5. step.py                     one training step
6. gradcheck.py                are the gradients right?

That's it. The rest reads text, runs the loops, saves, plots, or makes the same computation faster on a GPU.
"""

from minilstm.blocks import use_threads
from minilstm.config import PRESETS, Config
from minilstm.device import select_device
from minilstm.errors import UserError
from minilstm.evaluate import evaluate
from minilstm.events import EpochStarted, EpochTrained, Report, SaveDue
from minilstm.generate import generate
from minilstm.gradcheck import check_gradients
from minilstm.model import init_params, loss_and_gradients, zero_state
from minilstm.step import TrainState, init_train_state, train_step
from minilstm.text.batches import batchify, get_batch
from minilstm.text.corpus import Corpus, load_corpus
from minilstm.train import compile_step, train

__version__ = "0.1.0"
__all__ = [
    "PRESETS",
    "Config",
    "Corpus",
    "EpochStarted",
    "EpochTrained",
    "Report",
    "SaveDue",
    "TrainState",
    "UserError",
    "batchify",
    "check_gradients",
    "compile_step",
    "evaluate",
    "generate",
    "get_batch",
    "init_params",
    "init_train_state",
    "load_corpus",
    "loss_and_gradients",
    "select_device",
    "train",
    "train_step",
    "use_threads",
    "zero_state",
]
