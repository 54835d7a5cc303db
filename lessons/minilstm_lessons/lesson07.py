"""Lesson 7, stacking and truncating: its exercises, and what its pictures measure."""

import numpy as np

from minilstm.config import Config
from minilstm.device import to_host
from minilstm.evaluate import perplexity
from minilstm.layers.dropout import dropout_backward, dropout_forward, dropout_mask
from minilstm.layers.linear import linear_backward, linear_forward
from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.layers.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minilstm.masks import Masks
from minilstm.model import decoder_params, loss_and_gradients, loss_forward, stack_forward, zero_state
from minilstm.optim import adam, clip_by_global_norm, zero_moments
from minilstm.step import init_train_state, train_step
from minilstm.text.batches import batchify, get_batch, num_windows
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson07 as solutions


def train_once(config, corpus, xp):
    """Read the training text once, as ``minilstm train`` would in its first epoch; returns the parameters."""
    train_state = init_train_state(config, corpus.vocabulary, xp)
    data = xp.asarray(batchify(corpus.splits["train"], config.batch_size))
    windows = num_windows(len(data), config.num_steps)
    losses = []
    for k in range(windows):
        inputs, targets = get_batch(data, k, config.num_steps)
        losses.append(train_step(train_state, inputs, targets, config.learning_rate)[0])
        if (k + 1) % (windows // 3) == 0:
            recent = perplexity(float(to_host(np.stack(losses[-100:])).mean()), config.num_steps)
            print(f"windows of {config.num_steps}: {k + 1:4} of {windows}, perplexity of the last hundred {recent:.1f}")
    return train_state.params


def perplexity_in_windows(params, config, data, num_steps, carry):
    """Perplexity of streams (batch_len, B), read in windows, the state carried over or set to zero at each."""
    start = state = zero_state(config, data.shape[1], like=data)
    losses = []
    for first in range(0, len(data) - 1, num_steps):
        last = min(first + num_steps, len(data) - 1)
        loss, state = loss_forward(
            params, config, data[first:last], data[first + 1 : last + 1], state if carry else start
        )
        losses.append(loss)
    return perplexity(float(to_host(np.stack(losses)).astype(float).sum()), len(data) - 1)


def word_losses(params, config, inputs, targets, state):
    """-log p of every target, an array (T, B), and the new state."""
    x, state, _ = stack_forward(params, config, inputs, state)
    logits, _ = linear_forward(x, decoder_params(params))  # (T, B, V)
    logits -= logits.max(axis=-1, keepdims=True)
    of_target = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return np.log(np.exp(logits).sum(axis=-1)) - of_target, state


def price_of_a_reset(params, config, data, num_steps):
    """How many times higher the perplexity of the t-th word after a reset is than that of the same word with the state.

    Returns an array (num_steps,).
    """
    start = state = zero_state(config, data.shape[1], like=data)
    extra = []
    for k in range(num_windows(len(data), num_steps)):
        inputs, targets = get_batch(data, k, num_steps)
        without, _ = word_losses(params, config, inputs, targets, start)
        carried, state = word_losses(params, config, inputs, targets, state)
        extra.append((without - carried).mean(axis=1))
    return np.exp(to_host(np.stack(extra)).mean(axis=0))


def stretch_gradient(params, config, data, num_steps):
    """Gradient of the LSTM weights, one long vector, over streams (N + 1, B) read in windows of `num_steps`.

    The state is carried, gradients stop at each window's edge; with one window of N steps it is the full gradient.
    """
    state = zero_state(config, data.shape[1], like=data)
    total = 0
    for k in range(num_windows(len(data), num_steps)):
        inputs, targets = get_batch(data, k, num_steps)
        _, grads, state = loss_and_gradients(params, config, inputs, targets, state)
        total = total + np.concatenate([grad.ravel() for name, grad in grads.items() if name.startswith("rnn.")])
    return to_host(total).astype(float)


PLACES = "nowhere", "up", "hidden", "cell"


def learn_to_remember(place, keep_prob, xp, length=20, steps=150, H=16, B=32, forget_bias=3.0, seed=0):
    """Train a small LSTM to say at the end which of two symbols it saw at the start, with dropout in one place.

    The network is run in windows of one step, so that a mask can be put on the state between two steps: the forward
    pass multiplies h or c by it, the backward pass their gradients.

    Parameters
    ----------
    place : {"nowhere", "up", "hidden", "cell"}
        Where dropout is: on the outputs that go up to the linear layer, or on h or c on their way to the next step.
    keep_prob : float
    xp : module
    length : int
        Steps between the symbol and the answer.
    steps : int
        Updates.

    Returns
    -------
    array (steps,)
        Loss of every update, in nats.
    """
    rng = np.random.default_rng(seed)
    lstm = {
        "weight_ih": xp.asarray(rng.uniform(-0.3, 0.3, (4 * H, 3))),
        "weight_hh": xp.asarray(rng.uniform(-0.1, 0.1, (4 * H, H))),
        "bias": xp.zeros(4 * H),
    }
    decoder = {"weight": xp.asarray(rng.uniform(-0.1, 0.1, (2, H))), "bias": xp.zeros(2)}
    params = lstm | {"decoder." + name: value for name, value in decoder.items()}
    moments = zero_moments(params)
    zeros = xp.zeros((B, H))

    def draw(name):
        return xp.asarray(dropout_mask(rng, (B, H), keep_prob, "float64")) if place == name else None

    losses = []
    for step in range(1, steps + 1):
        symbol = rng.integers(2, size=B)
        inputs = np.zeros((length + 1, B, 3))
        inputs[0, np.arange(B), symbol] = 1
        inputs[1:, :, 2] = 1  # the third input says: nothing new
        inputs, targets = xp.asarray(inputs), xp.asarray(symbol[None])

        h, c, caches, masks = zeros, zeros, [], []
        for t in range(length + 1):
            outputs, (h, c), cache = lstm_forward(inputs[t : t + 1], (h, c), lstm, forget_bias)
            caches.append(cache)
            masks.append((draw("hidden"), draw("cell")))
            h, c = dropout_forward(h, masks[t][0]), dropout_forward(c, masks[t][1])
        up = draw("up")
        logits, decoder_cache = linear_forward(dropout_forward(outputs, up), decoder)
        loss, softmax_cache = softmax_cross_entropy_forward(logits, targets)

        doutputs, decoder_grads = linear_backward(softmax_cross_entropy_backward(softmax_cache), decoder_cache)
        doutputs, dh, dc = dropout_backward(doutputs, up), zeros, zeros
        grads = {"decoder." + name: grad for name, grad in decoder_grads.items()}
        for t in reversed(range(length + 1)):
            dh, dc = dropout_backward(dh, masks[t][0]), dropout_backward(dc, masks[t][1])
            _, (dh, dc), step_grads = lstm_backward(doutputs, (dh, dc), caches[t])
            grads |= {name: grads.get(name, 0) + grad for name, grad in step_grads.items()}
            doutputs = zeros[None]  # only the last output is asked for
        grads, _ = clip_by_global_norm(grads, 5.0)
        adam(params, grads, 0.01, moments, step)
        losses.append(loss)
    return to_host(np.stack(losses))


def normal(rng, *shape):
    return rng.standard_normal(shape)


def draw_lstm(rng, D, H):
    return {
        "weight_ih": 0.7 * normal(rng, 4 * H, D),
        "weight_hh": 0.7 * normal(rng, 4 * H, H),
        "bias": normal(rng, 4 * H),
    }


def draw_stack(rng, T, B, H, L):
    return {
        "x": normal(rng, T, B, H),
        "state": [(normal(rng, B, H), normal(rng, B, H)) for _ in range(L)],
        "layers": [draw_lstm(rng, H, H) for _ in range(L)],
        "masks": [dropout_mask(rng, (T, B, H), 0.7, "float64") for _ in range(L + 1)],
    }


def package_stack(x, state, layers, masks):
    """The package's stack: the inputs stand in the embedding's rows, so that it looks up each of them."""
    T, B, H = x.shape
    params = {"encoder.weight": x.reshape(T * B, H)}
    for k, layer in enumerate(layers):
        params |= {f"rnn.{name}_l{k}": layer[name] for name in ("weight_ih", "weight_hh")}
        params[f"rnn.bias_ih_l{k}"] = layer["bias"]
    config = STACKS[len(layers)]
    all_masks = Masks(list(masks), None, [None] * len(layers))
    outputs, state, _ = stack_forward(params, config, np.arange(T * B).reshape(T, B), state, all_masks)
    return outputs, np.stack([h for h, _ in state]), np.stack([c for _, c in state])


STACKS = {L: Config(num_layers=L) for L in (2, 3, 4)}


def draw_text(rng, N, T, B, D, H):
    return {"inputs": normal(rng, N, B, D), "r": normal(rng, N, B, H), "T": T} | draw_lstm(rng, D, H)


def package_truncated(inputs, r, T, **params):
    B, H = r.shape[1:]
    state = np.zeros((B, H)), np.zeros((B, H))
    losses, grads = [], []
    for first in range(0, len(inputs), T):
        outputs, state, cache = lstm_forward(inputs[first : first + T], state, params)
        losses.append((r[first : first + T] * outputs).sum())
        grads.append(lstm_backward(r[first : first + T], None, cache)[2])
    return sum(losses), *(sum(grad[name] for grad in grads) for name in params)


def draw_dropout(rng, N, H):
    return {
        "x": normal(rng, N, H),
        "dout": normal(rng, N, H),
        "u": rng.random((N, H)),
        "keep_prob": float(rng.uniform(0.3, 0.45) + 0.4 * rng.integers(2)),
    }


def mask_of(u, keep_prob):
    return (u < keep_prob) / keep_prob


def package_dropout(x, dout, u, keep_prob):
    return dropout_forward(x, mask_of(u, keep_prob)), dropout_backward(dout, mask_of(u, keep_prob))


def dropout_loss(x, dout, u, keep_prob):
    return (dout * dropout_forward(x, mask_of(u, keep_prob))).sum()


FORWARD = "lstm_forward(x, state[k], layers[k])"
MASK = "x = x * masks[k + 1]"

EXERCISES = (
    Exercise(
        solutions.stack_layers,
        {"T": (4, 6), "B": (2, 3), "H": (2, 5), "L": (2, 4)},
        draw_stack,
        package_stack,
        {"outputs": "(T, B, H)", "hidden": "(L, B, H)", "cell": "(L, B, H)"},
        mistakes=(
            Mistake(
                {"np.stack(hidden)": "np.stack(hidden[::-1])"}, "the layers stand in reverse order: layer 0 comes first"
            ),
            Mistake(
                {"np.stack(cell)": "np.stack(cell[::-1])"}, "the layers stand in reverse order: layer 0 comes first"
            ),
            Mistake(
                {
                    "x = x * masks[0]": "pass",
                    "        x = x * masks[k + 1]\n": "        x = x * masks[k + 1] if k + 1 == len(layers) else x\n",
                },
                "the inputs of the layers are not dropped: masks[k] multiplies what goes into layer k",
            ),
            Mistake(
                {"hidden.append(h)": "hidden.append(x[-1])"},
                "the state that goes on in time is dropped: hidden is the layer's own last h, without the mask",
            ),
            Mistake(
                {"hidden.append(h)": "hidden.append(state[k][0])", "cell.append(c)": "cell.append(state[k][1])"},
                "this is the state before the window; lstm_forward returns the one after it",
            ),
            Mistake(
                {MASK: "x = x * masks[k + 1] if k + 1 < len(layers) else x"},
                "the last mask is missing: the arrow from the top layer up to the softmax is dropped too",
            ),
            Mistake({MASK: "pass"}, "the outputs of the layers are not dropped: times masks[k + 1], after layer k"),
            Mistake(
                {MASK: "x = x * masks[k]"}, "the outputs of layer k take masks[k + 1]: masks[0] is the embedding's"
            ),
            Mistake(
                {"x = x * masks[0]": "pass"},
                "the mask of the embedded input is missing: masks[0] comes before layer 0",
            ),
            Mistake(
                {"x = x * masks[0]": "pass", MASK: "x = x * masks[k]"},
                "masks[0] belongs before the first layer, masks[k + 1] after layer k",
            ),
            Mistake(
                {"x = x * masks[0]": "x = bottom = x * masks[0]", FORWARD: "lstm_forward(bottom, state[k], layers[k])"},
                "every layer reads the embedded input: layer k + 1 reads the outputs of layer k",
            ),
            Mistake(
                {FORWARD: "lstm_forward(x, state[0], layers[k])"},
                "every layer starts from layer 0's state: each has its own, state[k]",
            ),
            Mistake(
                {FORWARD: "lstm_forward(x, state[k] if k == 0 else (h, c), layers[k])"},
                "the state is handed up from layer to layer: it goes through time, layer k starts from state[k]",
            ),
            Mistake(
                {FORWARD: "lstm_forward(x, (0 * state[k][0], 0 * state[k][1]), layers[k])"},
                "the layers start from zero: start from state[k]",
            ),
            Mistake(
                {FORWARD: "lstm_forward(x, (state[k][0], 0 * state[k][1]), layers[k])"},
                "the layers start from a cell of zero: the state is h and c",
            ),
            *(
                Mistake(
                    {FORWARD: f"lstm_forward(x, ({h}, {c}), layers[k])"},
                    "the incoming state is dropped: dropout is only on the arrows that go up, never in time",
                )
                for mask in ("masks[k][0]", "masks[k + 1][0]", "masks[k][-1]")
                for h, c in (
                    (f"state[k][0] * {mask}", "state[k][1]"),
                    ("state[k][0]", f"state[k][1] * {mask}"),
                    (f"state[k][0] * {mask}", f"state[k][1] * {mask}"),
                )
            ),
            Mistake(
                {FORWARD: "lstm_forward(x, state[k], layers[0])"}, "every layer uses the weights of layer 0: layers[k]"
            ),
            Mistake(
                {FORWARD: "lstm_forward(x, state[-1 - k], layers[-1 - k])"},
                "the layers run from the top down: layer 0 comes first",
            ),
        ),
    ),
    Exercise(
        solutions.truncated_bptt,
        {"N": (9, 13), "T": (4, 6), "B": (2, 3), "D": (2, 5), "H": (2, 5)},
        draw_text,
        package_truncated,
        {"loss": "", "dweight_ih": "(4H, D)", "dweight_hh": "(4H, H)", "dbias": "(4H,)"},
        mistakes=(
            Mistake(
                {
                    "total[name] = total[name] + grads[name]": (
                        "total[name] = total[name] + grads[name] / -(-len(inputs) // T)"
                    ),
                },
                "the windows' gradients were averaged: add them up",
            ),
            Mistake(
                {"total[name] = total[name] + grads[name]": "total[name] = grads[name]"},
                "only the last window's gradient is left: add up those of all windows",
            ),
            Mistake({"loss = loss + ": "loss = "}, "only the last window's loss is left: add up those of all windows"),
            Mistake(
                {"loss = loss + ": "loss = ", "total[name] = total[name] + grads[name]": "total[name] = grads[name]"},
                "only the last window is left: add up losses and gradients of all windows",
            ),
            Mistake(
                {"outputs, state, cache": "outputs, _, cache"},
                "every window starts from a state of zero: carry the state that lstm_forward returns",
            ),
            Mistake(
                {"lstm_forward(x, state, params)": "lstm_forward(x, (state[0], 0 * state[1]), params)"},
                "only h is carried: the state is h and c",
            ),
            Mistake(
                {"lstm_forward(x, state, params)": "lstm_forward(x, (0 * state[0], state[1]), params)"},
                "only c is carried: the state is h and c",
            ),
            Mistake(
                {"lstm_forward(x, state, params)": "lstm_forward(x, state[::-1], params)"},
                "h and c are swapped on their way to the next window",
            ),
            Mistake(
                {
                    "loss = 0.0": "loss, dstate = 0.0, None",
                    "_, _, grads = lstm_backward(dout, None, cache)": (
                        "_, dstate, grads = lstm_backward(dout, dstate, cache)"
                    ),
                },
                "the state's gradient is handed forward to the next window: a gradient flows back in time, and here it "
                "stops at the window's edge",
            ),
            Mistake(
                {"lstm_backward(dout, None, cache)": "lstm_backward(dout, state, cache)"},
                "the state is handed to lstm_backward as if it were a gradient: pass None, nothing comes back",
            ),
            Mistake(
                {"range(0, len(inputs), T)": "range(0, len(inputs) - T + 1, T)"},
                "the steps after the last whole window are left out: the last window may be shorter",
            ),
            Mistake(
                {"range(0, len(inputs), T)": "range(0, len(inputs) - T, T)"},
                "the last window is left out",
            ),
            Mistake(
                {"range(0, len(inputs), T)": "range(T, len(inputs), T)"},
                "the first window is left out",
            ),
            Mistake(
                {"range(0, len(inputs), T)": "range(0, len(inputs))"},
                "the windows overlap: move on by T steps, not by one",
            ),
            Mistake(
                {
                    "range(0, len(inputs), T)": "range(0, len(inputs), len(inputs))",
                    "inputs[start : start + T]": "inputs",
                    "r[start : start + T]": "r",
                },
                "this is the full gradient, of one window over the whole text: cut it every T steps",
            ),
            Mistake(
                {"lstm_backward(dout, None, cache)": "lstm_backward(outputs, None, cache)"},
                "lstm_backward takes the gradient of the outputs: for the loss sum(r * outputs) that is r",
            ),
            Mistake(
                {"lstm_backward(dout, None, cache)": "lstm_backward(dout * outputs, None, cache)"},
                "r * outputs is the loss; its gradient with respect to the outputs is r",
            ),
            Mistake({"(dout * outputs).sum()": "(dout * outputs).mean()"}, "the loss is a mean where the sum is meant"),
        ),
    ),
    Exercise(
        solutions.inverted_dropout,
        {"N": (4, 9), "H": (4, 9)},
        draw_dropout,
        package_dropout,
        {"y": "(N, H)", "dx": "(N, H)"},
        loss=dropout_loss,
        gradients={"dx": "x"},
        mistakes=(
            Mistake(
                {"y = x * mask": "y = np.where(kept, x / keep_prob, x)"},
                "the dropped units are left as they are: they become 0",
            ),
            Mistake(
                {"dx = dout * mask": "dx = dout * kept"},
                "dx is not divided by keep_prob: y was, so its slope is 1 / keep_prob",
            ),
            Mistake({"dx = dout * mask": "dx = dout * y"}, "dx is multiplied by y: the derivative of m * x is m"),
            Mistake(
                {"dx = dout * mask": "dx = dout / keep_prob"},
                "dx is scaled but not masked: a dropped unit has no gradient",
            ),
            Mistake(
                {"kept = u < keep_prob": "kept = u > keep_prob"},
                "kept and dropped are swapped: u is below keep_prob with probability keep_prob",
            ),
            Mistake(
                {
                    "kept = u < keep_prob": "kept = u > keep_prob",
                    "mask = kept / keep_prob": "mask = kept / (1 - keep_prob)",
                },
                "keep_prob is taken for the probability to drop",
            ),
            Mistake(
                {"kept = u < keep_prob": "kept = u > 1 - keep_prob"},
                "u > 1 - keep_prob is as likely, but other units: here those with u below keep_prob are kept",
            ),
            Mistake(
                {"mask = kept / keep_prob": "mask = kept"},
                "not divided by keep_prob: the expected output must be x, as it is without dropout",
            ),
            Mistake(
                {"mask = kept / keep_prob": "mask = kept * keep_prob"},
                "times keep_prob where divided is meant: fewer units must speak louder",
            ),
            Mistake(
                {"mask = kept / keep_prob": "mask = kept / (1 - keep_prob)"},
                "divided by 1 - keep_prob: divide by keep_prob",
            ),
            Mistake(
                {"mask = kept / keep_prob": "mask = kept / kept.mean()"},
                "divided by the share that happened to be kept: keep_prob is the probability, 1 / keep_prob the factor",
            ),
        ),
    ),
)
