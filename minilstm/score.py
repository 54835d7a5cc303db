"""The probability of a text: of each token, given those before it.

    log p(w_1 ... w_n) = sum_t log p(w_t | <eos>, w_1 ... w_{t-1})
    perplexity         = exp(-log p(w_1 ... w_n) / n)

The surprise of a token is -log2 p, in bits.
"""

from collections.abc import Sequence

import numpy as np

from minilstm import plain
from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.model import decoder_params, stack_forward, zero_state
from minilstm.text.corpus import EOS
from minilstm.types import Array, Kernels, Params

WINDOW = 100  # tokens whose logits are in memory at a time


def score(
    params: Params, config: Config, vocabulary: Sequence[str], ids: Sequence[int], kernels: Kernels = plain
) -> Array:
    """Log-probability of each token of a text, which begins after an <eos> with a zero state.

    Parameters
    ----------
    params : dict of array
    config : Config
    vocabulary : list of str
    ids : list of int
        The text. To score a whole sentence, its last token is <eos>.
    kernels : module
        minilstm.plain or minilstm.gpu.fused.

    Returns
    -------
    float64 array (tokens,)
        In nats.

    Raises
    ------
    UserError
        If the text is empty, or the model's logits are not finite.

    Examples
    --------
    >>> from minilstm import init_params
    >>> config = Config(hidden_size=4, init_scale=1e-9)
    >>> params = init_params(config, 4)  # untrained: 4 words, equally likely
    >>> np.exp(score(params, config, ["<eos>", "a", "b", "c"], [1, 2, 0])).round(6).tolist()
    [0.25, 0.25, 0.25]
    """
    if EOS not in vocabulary:
        raise UserError(f"the model knows no {EOS}, after which a sentence begins; train it again")
    if not len(ids):
        raise UserError("there is no text to score; give at least one word")
    text = np.array([vocabulary.index(EOS), *ids])
    like = params["decoder.bias"]
    state, logs = zero_state(config, 1, like), []
    for start in range(0, len(text) - 1, WINDOW):
        inputs, targets = text[start:-1][:WINDOW], text[start + 1 :][:WINDOW]  # (T,)
        x, state, _ = stack_forward(params, config, np.asarray(inputs[:, None], like=like), state, kernels=kernels)
        logits, _ = kernels.linear_forward(x, decoder_params(params))  # (T, 1, V)
        s = to_host(logits)[:, 0].astype(np.float64)  # (T, V)
        if not np.isfinite(s).all():
            raise UserError("the model's logits are not finite: its weights have grown too large; train it again")
        s -= s.max(axis=1, keepdims=True)
        logs.append(s[np.arange(len(targets)), targets] - np.log(np.exp(s).sum(axis=1)))  # (T,)
    return np.concatenate(logs)
