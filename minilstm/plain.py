"""The plain set of functions, ``--kernels plain``: the layers and the optimizer in NumPy's interface.

It runs on NumPy and CuPy arrays and is the reference for gpu/fused.py, which has the same names.
"""

from minilstm.blocks import deferred_products
from minilstm.layers.dropout import dropout_backward, dropout_forward, dropout_masks
from minilstm.layers.embedding import embedding_backward, embedding_forward
from minilstm.layers.linear import linear_backward, linear_forward
from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.layers.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minilstm.optim import adam, clip_by_global_norm, sgd

__all__ = [
    "adam",
    "clip_by_global_norm",
    "deferred_products",
    "dropout_backward",
    "dropout_forward",
    "dropout_masks",
    "embedding_backward",
    "embedding_forward",
    "linear_backward",
    "linear_forward",
    "lstm_backward",
    "lstm_forward",
    "sgd",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
]
