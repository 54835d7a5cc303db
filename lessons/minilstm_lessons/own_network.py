"""A network that is put together from a student's functions, and trains with them.

    words -> embedding -> stack_layers [lstm_step_forward at each step] -> linear layer, softmax -> loss
    loss -> softmax_layer_backward -> lstm_step_backward at each step -> clip_by_global_norm -> clipped_step

The functions have the signatures of their exercises. The adapters here have those of the package's functions, whose
names the student's loops call: `loss_and_gradients`, `clip_by_global_norm`, `sgd`, `lstm_forward`.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from minilstm.config import Config
from minilstm.evaluate import evaluate
from minilstm.model import LSTM_NAMES, init_params, zero_state
from minilstm_lessons import EXERCISES
from minilstm_lessons.own_functions import Part, choose, find, rebound

PARTS = {  # name -> lesson, in the order in which they are judged
    "softmax": 2,
    "softmax_layer_backward": 2,
    "numerical_gradient": 3,
    "clip_by_global_norm": 5,
    "clipped_step": 5,
    "lstm_step_forward": 6,
    "lstm_step_backward": 6,
    "stack_layers": 7,
    "learning_rate_schedule": 8,
    "train_one_epoch": 8,
}
LSTM = [name.format(0) for name in LSTM_NAMES.values()]  # weight_ih, weight_hh, bias
MATRICES = ["encoder.weight", "decoder.weight", *LSTM[:2]]  # all of them have H columns
BIASES = ["decoder.bias", LSTM[2]]
TOLERANCE = 1e-3  # relative, of losses in float32
STEP, FLOAT32_STEP = 1e-4, 0.03  # of the gradient's check; a small step leaves of a loss in float32 only its rounding
FLOAT32_ERROR = 1e-2  # relative, of a right gradient that is checked with the larger step, if parts are in float32
ROUGH = 1e-9  # relative, of second differences over `TINY`: in float64 they are smaller, in float32 larger
TINY = 2e-7
LEG = 100  # windows of training between two looks at the validation text


class Network(NamedTuple):
    """What trains: all of it computed by the parts.

    Attributes
    ----------
    train_one_epoch : callable
        ``train_one_epoch(params, config, data, learning_rate)`` -> the windows' losses, and the new parameters.
    loss_and_gradients : callable
        As the package's function of that name, for one layer and without dropout.
    learning_rate_schedule, lstm_step_forward, softmax, numerical_gradient : callable
        As in their exercises.
    calls : Counter
        How often the adapters have been called, by name.
    functions : dict
        The parts, by name.
    """

    train_one_epoch: Callable
    loss_and_gradients: Callable
    learning_rate_schedule: Callable
    lstm_step_forward: Callable
    softmax: Callable
    numerical_gradient: Callable
    calls: Counter
    functions: dict


def collect(pasted, folder="."):
    """Find the student's functions, judge each, and try it in the network: a list of `Part`, in the order of `PARTS`.

    Parameters
    ----------
    pasted : dict
        The notebook's ``globals()``: a function defined there comes before the one in a saved notebook.
    folder : path
        Where the saved notebooks are.
    """
    parts = []
    for name, lesson in PARTS.items():
        stands_in = {p.name: p.function for p in parts if p.lesson == lesson and not p.is_yours}
        parts.append(choose(name, lesson, find(name, lesson, pasted, folder), stands_in))
    return [try_out(part) for part in parts]


def describe(parts):
    """One line for each part, and how many are the student's."""
    lines = []
    for part in parts:
        words = part.words if part.is_yours else f"{part.words}; ours stands in"
        lines.append(f"lesson {part.lesson}  {'✔ yours' if part.is_yours else '· ours ':8} {part.name:23} {words}")
    return "\n".join([*lines, "", count_of_yours(parts)])


def count_of_yours(parts):
    """For example "7 of 10 parts are yours"."""
    yours = sum(part.is_yours for part in parts)
    return f"{yours} of {len(parts)} parts {'is' if yours == 1 else 'are'} yours"


def results_of(value, names):
    """What a student's function returned, as a list of one array for each name, however it was packed."""
    if isinstance(value, Mapping):
        value = [value[name] for name in names] if set(names) <= set(value) else [*value.values()]
    if len(names) == 1:
        if isinstance(value, tuple | list) and len(value) == 1:
            [value] = value
        return [np.asarray(value if hasattr(value, "__len__") and hasattr(value, "__getitem__") else [*value])]
    values = [*value]
    while len(values) < len(names) and any(isinstance(v, Mapping | tuple | list) for v in values):
        n = next(n for n, v in enumerate(values) if isinstance(v, Mapping | tuple | list))
        values[n : n + 1] = values[n].values() if isinstance(values[n], Mapping) else values[n]
    if 0 < len(values) < len(names) and len(values) - 1 + len(values[-1]) == len(names):  # the last ones in one array
        values[-1:] = values[-1]
    return [np.asarray(v) for v in values]


def caller(functions, name):
    """A part as a function that returns a list of arrays."""
    names = [*EXERCISES[name].results]
    return lambda *arguments: results_of(functions[name](*arguments), names)


def assemble(functions):
    """Put a network together.

    Parameters
    ----------
    functions : dict
        Name -> function, for every name in `PARTS`.

    Returns
    -------
    Network
    """
    step_forward, step_backward = caller(functions, "lstm_step_forward"), caller(functions, "lstm_step_backward")
    softmax, output_backward = caller(functions, "softmax"), caller(functions, "softmax_layer_backward")
    clip, sgd_step = caller(functions, "clip_by_global_norm"), caller(functions, "clipped_step")
    calls, last = Counter(), {}

    def lstm_forward(x, state, params, forget_bias=0.0):
        """A window of T steps, one at a time; what each step read is kept for the way back."""
        calls["lstm_forward"] += 1
        h, c = state
        outputs, cache = [], []
        for x_t in x:
            cache.append((x_t, h, c))
            h, c = step_forward(x_t, h, c, *params.values())
            outputs.append(h)
        last["cache"] = cache
        return np.stack(outputs), (h, c), cache

    def lstm_backward(doutputs, cache, weights):
        """From the gradients of the outputs to that of the inputs and of the weights; none comes from beyond."""
        dh = dc = np.zeros_like(cache[0][1])
        total = [np.zeros_like(weight) for weight in weights]
        dx = []
        for dout, step in zip(doutputs[::-1], cache[::-1], strict=True):
            dx_t, dh, dc, *grads = step_backward(dout, dh, dc, *step, *weights)
            dx.append(dx_t)
            total = [old + new for old, new in zip(total, grads, strict=True)]
        return np.stack(dx[::-1]), total

    stack = rebound(functions["stack_layers"], lstm_forward=lstm_forward)

    def loss_and_gradients(params, config, inputs, targets, state):
        calls["loss_and_gradients"] += 1
        last["params"] = params
        (T, B), dtype = inputs.shape, params["decoder.bias"].dtype
        embedding, weight, bias = params["encoder.weight"], params["decoder.weight"], params["decoder.bias"]
        lstm = dict(zip(LSTM_NAMES, (params[name] for name in LSTM), strict=True))
        x = embedding[inputs]  # (T, B, H)
        names = [*EXERCISES["stack_layers"].results]
        outputs, hidden, cell = results_of(stack(x, state, [lstm], [np.ones_like(x)] * 2), names)
        p = softmax(outputs.reshape(T * B, -1) @ weight.T + bias)[0]
        p_target = p[np.arange(T * B), targets.reshape(T * B)]
        loss = -np.log(np.maximum(p_target, np.finfo(p.dtype).tiny)).sum() / B

        doutputs, dweight, dbias = output_backward(outputs, targets, weight, bias)
        dx, dlstm = lstm_backward(doutputs, last["cache"], [*lstm.values()])
        dembedding = np.zeros_like(embedding)
        np.add.at(dembedding, inputs, dx)
        grads = {"encoder.weight": dembedding, "decoder.weight": dweight, "decoder.bias": dbias}
        grads |= dict(zip(LSTM, dlstm, strict=True))
        grads = {name: np.asarray(grads[name], dtype=dtype) for name in params}
        return loss, grads, [(h.astype(dtype), c.astype(dtype)) for h, c in zip(hidden, cell, strict=True)]

    def clip_by_global_norm(grads, max_grad_norm):
        """The three that the exercise takes: words' matrices, LSTM's matrices, biases."""
        calls["clip_by_global_norm"] += 1
        groups = MATRICES[:2], MATRICES[2:], BIASES
        *clipped, norm = clip(*(np.concatenate([grads[name] for name in group]) for group in groups), max_grad_norm)
        new = {}
        for group, values in zip(groups, clipped, strict=True):
            new |= split(values, grads, group)
        return {name: new[name] for name in grads}, norm

    def sgd(params, grads, learning_rate):
        """All matrices as one, all biases as one, which `clipped_step` takes; the norm is within the limit."""
        calls["sgd"] += 1
        last["params"] = params
        joined = [
            np.concatenate([of[name] for name in group]) for of in (params, grads) for group in (MATRICES, BIASES)
        ]
        W, b, _ = sgd_step(*joined, learning_rate, 1e30)
        for name, value in (split(W, params, MATRICES) | split(b, params, BIASES)).items():
            params[name][:] = value

    adapters = {"loss_and_gradients": loss_and_gradients, "clip_by_global_norm": clip_by_global_norm, "sgd": sgd}
    loop = rebound(functions["train_one_epoch"], **adapters)

    def train_one_epoch(params, config, data, learning_rate):
        """The loop works on a copy of the weights and returns the losses alone: the last weights it used are kept."""
        losses, _ = results_of(loop(params, config, data, learning_rate), [*EXERCISES["train_one_epoch"].results])
        return losses.astype(float), last.get("params", params)

    return Network(
        train_one_epoch,
        loss_and_gradients,
        lambda *arguments: caller(functions, "learning_rate_schedule")(*arguments)[0].astype(float),
        lambda *arguments: tuple(step_forward(*arguments)),
        lambda logits: softmax(logits)[0],
        functions["numerical_gradient"],
        calls,
        functions,
    )


def split(values, like, names):
    """Cut an array that was concatenated from arrays like those of `like`."""
    ends = np.cumsum([len(like[name]) for name in names])[:-1]
    return dict(zip(names, np.split(values, ends), strict=True))


def network_of(parts):
    """The network of a list of `Part`."""
    return assemble({part.name: part.function for part in parts})


SOLUTIONS = {name: EXERCISES[name].solution for name in PARTS}
NEEDED = {"train_one_epoch": ("loss_and_gradients", "clip_by_global_norm", "sgd"), "stack_layers": ("lstm_forward",)}
TRIAL = Config(hidden_size=5, num_steps=4, batch_size=3, keep_prob=1.0, init_scale=0.5, max_grad_norm=1.0)
TRIAL_DATA = np.random.default_rng(0).integers(7, size=(14, 3))


def trial_losses(network):
    """Losses of three short windows, and of the first once more with the weights after them, in a tiny network."""
    losses, params = network.train_one_epoch(init_params(TRIAL, 7), TRIAL, TRIAL_DATA, 0.5)
    if not network.calls["sgd"]:  # the loop goes its own way: nothing to measure
        return losses
    inputs, targets = TRIAL_DATA[:4], TRIAL_DATA[1:5]
    return np.append(losses, network.loss_and_gradients(params, TRIAL, inputs, targets, zero_state(TRIAL, 3))[0])


def try_out(part):
    """A right function may still not fit in: try it alone, among ours. It stays, or ours stands in."""
    if not part.is_yours:
        return part
    network, error, fits = assemble(SOLUTIONS | {part.name: part.function}), None, False
    try:
        if part.name == "numerical_gradient":
            fits = max(errors_at(network, FLOAT32_STEP).values()) < FLOAT32_ERROR
        elif part.name == "learning_rate_schedule":
            fits = network.learning_rate_schedule(1.0, 0.5, 2, 4).shape == (4,)
        else:
            fits = np.allclose(trial_losses(network), trial_losses(assemble(SOLUTIONS)), rtol=TOLERANCE)
    except Exception as caught:
        error = caught
    missing = [name for name in NEEDED.get(part.name, ()) if not network.calls[name]]
    if missing:
        words = f"right, but it does not call {missing[0]} by that name, and that is where your other functions come in"
        return ours(part, words)
    if error is not None:
        return ours(part, f"right, but in the network it stopped with {type(error).__name__}: {error}")
    return part if fits else ours(part, "right for the judge, but in the network it gives something else")


def ours(part, words):
    return Part(part.name, part.lesson, SOLUTIONS[part.name], False, words)


CHECKED = Config(hidden_size=3, num_steps=4, batch_size=2, keep_prob=1.0, init_scale=0.5, dtype="float64")
CHECKED_DATA = np.random.default_rng(0).integers(5, size=(5, 2))


def checked_loss(network, params):
    """Loss and gradients of the tiny network in which the gradient is checked."""
    state = zero_state(CHECKED, CHECKED_DATA.shape[1])
    return network.loss_and_gradients(params, CHECKED, CHECKED_DATA[:-1], CHECKED_DATA[1:], state)[:2]


def gradient_errors(network):
    """Relative error of each matrix's gradient in a tiny network, against the network's `numerical_gradient`.

    If parts compute in float32, the step is larger, and a line says so and what errors to expect.
    """
    rough = parts_in_float32(network.functions)
    if rough:
        print(f"in float32: {', '.join(rough)}. So the step h is {FLOAT32_STEP} here, and a right gradient may show a "
              f"relative error of up to {FLOAT32_ERROR:.0e}.")  # fmt: skip
    return errors_at(network, FLOAT32_STEP if rough else STEP)


def parts_in_float32(functions):
    """Names of the parts that compute in float32, of those that the check of the gradient runs.

    Along a line, what a part computes is smooth in float64. In float32 it goes up in steps, whatever it is returned as.
    """
    params, rough = init_params(CHECKED, 5), []
    for name in ("softmax", "softmax_layer_backward", "lstm_step_forward", "lstm_step_backward", "stack_layers"):
        network = assemble(SOLUTIONS | {name: functions[name]})

        def values_at(moved, network=network):
            loss, grads = checked_loss(network, moved)
            return [np.asarray(loss), *grads.values()]

        if functions[name] is not SOLUTIONS[name] and is_rough(values_at, params):
            rough.append(name)
    numerical_gradient = caller(functions, "numerical_gradient")
    if functions["numerical_gradient"] is not SOLUTIONS["numerical_gradient"] and is_rough(
        lambda at: numerical_gradient(lambda x: float(np.exp(x).sum()), at["x"], FLOAT32_STEP),
        {"x": params["decoder.weight"]},
    ):
        rough.append("numerical_gradient")
    return rough


def is_rough(values_at, params, trials=8):
    """Whether second differences of the arrays ``values_at(params)`` are larger than rounding in float64."""
    rng = np.random.default_rng(0)
    for _ in range(trials):
        start = {name: param + 0.1 * rng.standard_normal(param.shape) for name, param in params.items()}
        way = {name: TINY * rng.standard_normal(param.shape) for name, param in params.items()}
        below, middle, above = (
            values_at({name: param + n * way[name] for name, param in start.items()}) for n in (-1, 0, 1)
        )
        for a, b, c in zip(below, middle, above, strict=True):
            if not abs(a - 2 * b + c).max() <= ROUGH * abs(b).max():
                return True
    return False


def errors_at(network, h):
    """The errors of `gradient_errors`, with differences of step h."""
    params = init_params(CHECKED, 5)

    def loss_at(name, value):
        return float(checked_loss(network, params | {name: value})[0])

    _, grads = checked_loss(network, params)
    errors = {}
    for name in MATRICES:
        value = network.numerical_gradient(lambda x, name=name: loss_at(name, x), params[name], h)
        [numeric] = results_of(value, ["gradient"])
        errors[name] = float(abs(numeric - grads[name]).max() / abs(numeric).max())
    return errors


def legs_of(data, config):
    """A text (batch_len, B) in legs of `LEG` windows, one after the other."""
    size = LEG * config.num_steps
    return [data[start : start + size + 1] for start in range(0, len(data) - config.num_steps, size)]


def train(network, rates, config, corpus, data, watch=lambda rows, params: None):
    """Train from fresh weights, one leg for each rate; Ctrl-C, or the stop button, ends it after the last whole leg.

    Parameters
    ----------
    network : Network
    rates : array (E,)
        Learning rate of each leg.
    watch : callable
        ``watch(rows, params)`` is called after each leg.

    Returns
    -------
    rows : list of dict
        For each leg "steps" so far, "seconds" so far, its mean "loss" in nats a word, and the perplexity on "valid".
    params : dict of array
    """
    params, legs, rows, seconds, steps = init_params(config, len(corpus.vocabulary)), legs_of(data, config), [], 0.0, 0
    try:
        for n, rate in enumerate(rates):
            started = time.perf_counter()
            losses, params = network.train_one_epoch(params, config, legs[n % len(legs)], float(rate))
            seconds += time.perf_counter() - started
            steps += len(losses)
            valid = evaluate(params, config, "valid", corpus.splits["valid"])  # the package measures, whoever trained
            loss = losses.mean() / config.num_steps
            rows.append({"steps": steps, "seconds": seconds, "loss": loss, "valid": valid, "rate": float(rate)})
            watch(rows, params)
    except KeyboardInterrupt:
        print(f"stopped after {steps} steps; what it has learned is kept")
    return rows, params


def speed(rows, config):
    """For example "1,199 steps in 14.0 s: 11.7 ms a step, 34,000 words a second"."""
    steps, seconds = rows[-1]["steps"], rows[-1]["seconds"]
    words = steps * config.num_steps * config.batch_size / seconds
    return f"{steps:,} steps in {seconds:.0f} s: {1000 * seconds / steps:.1f} ms a step, {words:,.0f} words a second"
