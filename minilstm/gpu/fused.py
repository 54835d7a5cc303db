"""The fused set of functions, ``--kernels fused``: the names of minilstm.plain, implemented as CUDA kernels.

Functions that would not be faster as a custom kernel are the plain ones.
"""

from minilstm.gpu.dropout import dropout_masks
from minilstm.gpu.embedding import embedding_backward, embedding_forward
from minilstm.gpu.graph import deferred_products
from minilstm.gpu.linear import linear_backward, linear_forward
from minilstm.gpu.lstm import lstm_backward, lstm_forward
from minilstm.gpu.multi_tensor import adam, clip_by_global_norm, sgd
from minilstm.gpu.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minilstm.layers.dropout import dropout_backward, dropout_forward

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
