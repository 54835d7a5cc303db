"""Lesson 3's patients: the plain recurrent network with a mistake in its backward pass, and what shows it.

A mistake is a dict of edits for `surgery.operate`, which replaces pieces of the source of `rnn_forward` and
`rnn_backward`.
"""

import matplotlib.pyplot as plt
import numpy as np

from minilstm.gradcheck import element_slopes
from minilstm.layers.linear import linear_backward, linear_forward
from minilstm.layers.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minilstm.optim import clip_by_global_norm, sgd
from minilstm.text.batches import batchify, get_batch, num_windows
from minilstm_lessons.rnn import rnn_backward, rnn_forward
from minilstm_lessons.style import BLUE, GREY, RED
from minilstm_lessons.surgery import operate

BACK = 'dh_next = dz[t] @ params["weight_hh"]'
NOTHING_BACK = {BACK: "dh_next = 0 * dz[t]"}
MEAN = {"dz_flat.sum(axis=0)": "dz_flat.mean(axis=0)"}
DISEASES = {
    "healthy": {},
    "dx: wrong sign": {'return dz @ params["weight_ih"]': 'return -dz @ params["weight_ih"]'},
    "db: mean, not sum": MEAN,
    "dW_hh: h of the same step": {"states[:-1].reshape": "states[1:].reshape"},
    "slope of the step before": {"(1 - states[t + 1] ** 2)": "(1 - states[t] ** 2)"},
    "W_hh the wrong way round": {BACK: BACK + ".T"},
    "nothing handed back": NOTHING_BACK,
    "what comes back not added": {"dh = doutputs[t] + dh_next": "dh = doutputs[t]"},
}
ARRAYS = {"weight_ih": "W_ih", "weight_hh": "W_hh", "bias": "b", "inputs": "x", "hidden": "h before"}
PARAMS = "weight_ih", "weight_hh", "bias"


def three_versions():
    """Edits by the names A, B and C: one right, one that hands nothing back, one with a mean for a sum, shuffled."""
    shuffled = np.random.default_rng(9).permutation([{}, NOTHING_BACK, MEAN])
    return dict(zip("ABC", shuffled, strict=True))


def rnn_case(edits, H=8, T=6, B=4, D=5, seed=1):
    """A random linear loss of the outputs of the network after surgery.

    Returns
    -------
    function : callable
        ``function(everything) -> (loss, gradients)``, as `gradcheck` asks for it.
    everything : dict of array
        The point at which to check: "weight_ih", "weight_hh", "bias", "inputs" (T, B, D), "hidden" (B, H).
    """
    forward, backward = operate(rnn_forward, rnn_backward, edits=edits)
    rng = np.random.default_rng(seed)
    inputs, hidden, r = rng.standard_normal((T, B, D)), rng.standard_normal((B, H)), rng.standard_normal((T, B, H))
    params = {
        "weight_ih": 0.5 * rng.standard_normal((H, D)),
        "weight_hh": 0.5 * rng.standard_normal((H, H)),
        "bias": 0.5 * rng.standard_normal(H),
    }

    def function(everything):
        params = {name: everything[name] for name in PARAMS}
        outputs, cache = forward(everything["inputs"], everything["hidden"], params)
        dinputs, dhidden, grads = backward(r, cache)
        return (r * outputs).sum(), {**grads, "inputs": dinputs, "hidden": dhidden}

    return function, {**params, "inputs": inputs, "hidden": hidden}


def learning_curve(edits, corpus, steps=400, H=64, T=20, B=20, learning_rate=0.3, seed=0):
    """Train the network after surgery, with a softmax layer on top, to predict words: the perplexity of each step.

    Its inputs are words as vectors (V,) of zeros with a one in the word's place.
    """
    forward, backward = operate(rnn_forward, rnn_backward, edits=edits)
    V, data = len(corpus.vocabulary), batchify(corpus.splits["train"], B)
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih": (H, V), "weight_hh": (H, H), "bias": (H,), "weight": (V, H), "out_bias": (V,)}
    params = {name: rng.uniform(-0.1, 0.1, shape) for name, shape in shapes.items()}
    one_hot, hidden, losses = np.eye(V), np.zeros((B, H)), []
    for k in range(steps):
        inputs, targets = get_batch(data, k % num_windows(len(data), T), T)
        outputs, cache = forward(one_hot[inputs], hidden, params)
        logits, linear_cache = linear_forward(outputs, {"weight": params["weight"], "bias": params["out_bias"]})
        loss, softmax_cache = softmax_cross_entropy_forward(logits, targets)
        doutputs, linear_grads = linear_backward(softmax_cross_entropy_backward(softmax_cache), linear_cache)
        grads = backward(doutputs, cache)[2]
        grads |= {"weight": np.asarray(linear_grads["weight"]), "out_bias": linear_grads["bias"]}
        sgd(params, clip_by_global_norm(grads, 5.0)[0], learning_rate)
        hidden = outputs[-1]
        losses.append(loss / T)
    return np.exp(losses)


def examine(edits, T, seed=0):
    """Analytic gradient, numeric slopes and relative errors of a patient, by array, for a window of T steps.

    Returns
    -------
    dict of tuple
        name -> (analytic, numeric, errors), each (n,), for the names in ARRAYS.
    """
    healthy, everything = rnn_case({}, H=6, T=T, B=3, D=4, seed=seed)
    right, analytic = healthy(everything)[1], rnn_case(edits, H=6, T=T, B=3, D=4, seed=seed)[0](everything)[1]
    scale = 1e-3 * max(abs(grad).max() for grad in right.values())
    found = {}
    for name in ARRAYS:
        a = analytic[name].ravel()
        n = np.array([n for _, n in element_slopes(healthy, everything, name, right[name], 1e-3)])
        found[name] = a, n, abs(a - n) / np.maximum(np.maximum(abs(a), abs(n)), scale)
    return found


def draw_patient(patient, diagnosis):
    """A patient whose disease is hidden until the diagnosis is right: every array, for five steps and for one."""
    rng = np.random.default_rng(patient)
    disease = str(rng.choice(list(DISEASES)))
    figure, panels = plt.subplots(2, len(ARRAYS), figsize=(11.5, 5.4))
    for row, T in zip(panels, (5, 1), strict=True):
        for axes, (name, (a, n, errors)) in zip(row, examine(DISEASES[disease], T, patient).items(), strict=True):
            limit, good = 1.12 * max(abs(a).max(), abs(n).max()), errors < 1e-7
            axes.plot([-limit, limit], [-limit, limit], color=GREY, lw=1)
            axes.plot(n[good], a[good], "o", color=BLUE, ms=4, alpha=0.7)
            axes.plot(n[~good], a[~good], "x", color=RED, ms=5, mew=1.5)
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[0], yticks=[0])
            axes.set_title(
                f"{ARRAYS[name]}: {(~good).sum() or 'none'} off", color=BLUE if good.all() else RED, fontsize=12
            )
        row[0].set_ylabel(f"T = {T}\nanalytic")
    figure.supxlabel("numeric slope")
    verdict = "" if diagnosis not in DISEASES else ": right" if diagnosis == disease else ": no"
    figure.suptitle(f"Patient {patient}. Your diagnosis: {diagnosis}{verdict}")
