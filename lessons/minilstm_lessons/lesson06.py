"""Lesson 6, the LSTM by hand: its exercises, and the gradient of an LSTM by its distance in time."""

import inspect
import itertools

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward, lstm_step_backward, lstm_step_forward
from minilstm_lessons.exercise import Exercise, Mistake, relative_error, with_mistakes
from minilstm_lessons.judge import finite_differences
from minilstm_lessons.solutions import lesson06 as solutions

ROADS = "hidden", "cell"  # the two ways from step t back to step t - 1: through h_{t-1} and through c_{t-1}


def fresh_lstm(rng, D, H, scale=0.1):
    """An LSTM as it is before training: weights uniform in +-scale, biases zero."""
    return {
        "weight_ih": rng.uniform(-scale, scale, (4 * H, D)),
        "weight_hh": rng.uniform(-scale, scale, (4 * H, H)),
        "bias": np.zeros(4 * H),
    }


def lstm_gradient_by_distance(params, inputs, state, dh, forget_bias=0.0, roads=ROADS):
    """Length of the gradient of a loss at the window's last step, k steps back in time.

    The window is cut into windows of one step, so that `lstm_backward` hands the gradient over at each of them; a road
    that is closed is closed there.

    Parameters
    ----------
    params : dict of array
    inputs : array (T, B, D)
    state : tuple of array (B, H)
        h and c before the window.
    dh : array (B, H)
        Gradient of the loss with respect to the last hidden state, h_{T-1}.
    forget_bias : float
    roads : tuple of str
        Which of "hidden" and "cell" the gradient may take from one step to the step before it.

    Returns
    -------
    norms : array (T + 1, B)
        norms[k] is the length of the gradient with respect to h_{T-1-k} and c_{T-1-k} together, for each sequence of
        the batch; norms[T] is that of the state before the window.

    Examples
    --------
    Without weights every gate is one half, and so is every step on the road of the cell:

    >>> params = {"weight_ih": np.zeros((4, 1)), "weight_hh": np.zeros((4, 1)), "bias": np.zeros(4)}
    >>> zero = np.zeros((1, 1))
    >>> lstm_gradient_by_distance(params, np.zeros((3, 1, 1)), (zero, zero), np.ones((1, 1)))[:, 0].tolist()
    [1.0, 0.25, 0.125, 0.0625]
    """
    caches = []
    for t in range(len(inputs)):
        _, state, cache = lstm_forward(inputs[t : t + 1], state, params, forget_bias)
        caches.append(cache)
    dc = np.zeros_like(dh)
    zeros = np.zeros_like(dh)[None]  # the loss sees the last hidden state alone
    norms = [np.linalg.norm(dh, axis=1)]
    for cache in reversed(caches):
        _, (dh, dc), _ = lstm_backward(zeros, (dh, dc), cache)
        dh = dh * ("hidden" in roads)
        dc = dc * ("cell" in roads)
        norms.append(np.sqrt((dh**2 + dc**2).sum(axis=1)))
    return np.stack(norms)


def show_mirror():
    """Print the numbered lines of the package's step forward, last line first, beside their lines of the step back."""
    forward, backward = (
        [line.strip().partition("  # ") for line in inspect.getsource(step).splitlines()]
        for step in (lstm_step_forward, lstm_step_backward)
    )
    width = 32  # of the left side; a longer line stands alone
    print(f"{'forward, read upwards':{width + 5}}backward, read downwards")
    for number in ("(5)", "(4)", "(3)", "(2)", "(1)"):
        left, right = ([code for code, _, note in lines if note.startswith(number)] for lines in (forward, backward))
        if len(left[0]) >= width:
            print(f"{number:5}{left.pop()}")
            number = ""
        for code, answer in itertools.zip_longest(left, right, fillvalue=""):
            print(f"{number:5}{code:{width}}{answer}")
            number = ""


def errors_of_step(edits, seed=0):
    """Break lines of the package's lstm_step_backward and hold its results against central differences.

    Parameters
    ----------
    edits : dict
        Old text -> new text, in the source of lstm_step_backward. An empty dict breaks nothing.
    seed : int
        Of the random step.

    Returns
    -------
    dict
        "dz_i", "dz_f", "dz_g", "dz_o" and "dc_prev" -> relative error.

    Examples
    --------
    >>> max(errors_of_step({}).values()) < 1e-8
    True
    """
    broken = with_mistakes(lstm_step_backward, [Mistake(edits, "")])
    arguments = draw_gates(np.random.default_rng(seed), B=2, H=3)
    given = gates_answer(broken, **arguments)
    names = (*GATES, "c_prev")
    return {
        "d" + name: relative_error(value, finite_differences(gates_loss, arguments, name))
        for name, value in zip(names, given, strict=True)
    }


def normal(rng, *shape):
    return rng.standard_normal(shape)


def draw_step(rng, B, D, H):
    return {
        "x": normal(rng, B, D),
        "h_prev": normal(rng, B, H),
        "c_prev": normal(rng, B, H),
        "weight_ih": 0.5 * normal(rng, 4 * H, D),
        "weight_hh": 0.5 * normal(rng, 4 * H, H),
        "bias": normal(rng, 4 * H),
    }


def step_forward(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    """The package's layer on a window of one step: h, c and the cache."""
    params = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    _, (h, c), cache = lstm_forward(x[None], (h_prev, c_prev), params)
    return h, c, cache


def package_step(**arguments):
    h, c, _ = step_forward(**arguments)
    return h, c


def draw_step_backward(rng, B, D, H):
    gradients = {name: normal(rng, B, H) for name in ("dout", "dh_next", "dc_next")}
    return gradients | draw_step(rng, B, D, H)


def step_loss(dout, dh_next, dc_next, **arguments):
    """A loss whose gradients with respect to h and c are the ones given."""
    h, c, _ = step_forward(**arguments)
    return (dout * h).sum() + (dh_next * h).sum() + (dc_next * c).sum()


def package_step_backward(dout, dh_next, dc_next, **arguments):
    _, _, cache = step_forward(**arguments)
    dinputs, (dh_prev, dc_prev), grads = lstm_backward(dout[None], (dh_next, dc_next), cache)
    return dinputs[0], dh_prev, dc_prev, grads["weight_ih"], grads["weight_hh"], grads["bias"]


GATES = "z_i", "z_f", "z_g", "z_o"


def draw_gates(rng, B, H):
    return {name: normal(rng, B, H) for name in ("dh", "dc_next", *GATES, "c_prev")}


def run_gates(z_i, z_f, z_g, z_o, c_prev):
    """The package's step from its pre-activations, without recurrent weights: h, c and the cache."""
    z = np.concatenate([z_i, z_f, z_g, z_o], axis=1)
    return lstm_step_forward(z, np.zeros_like(c_prev), c_prev, no_weights(c_prev))


def no_weights(c_prev):
    H = c_prev.shape[1]
    return np.zeros((4 * H, H))


def gates_loss(dh, dc_next, **arguments):
    h, c, _ = run_gates(**arguments)
    return (dh * h).sum() + (dc_next * c).sum()


def gates_answer(step_backward, dh, dc_next, **arguments):
    _, _, cache = run_gates(**arguments)
    dz, _, dc_prev = step_backward(dh, dc_next, no_weights(dh), cache)
    return *np.split(dz, 4, axis=1), dc_prev


def package_gates_backward(**arguments):
    return gates_answer(lstm_step_backward, **arguments)


def wrong_order(order, backward):
    """Gates cut from z, and in the backward step joined to dz, in the order of other libraries and texts."""
    edits = {}
    for k, gate in enumerate("ifgo"):
        if gate != order[k]:
            n = order.index(gate)
            function = "np.tanh" if gate == "g" else "sigmoid"
            old, new = (f"{gate} = {function}(z[:, {place} * H : {place + 1} * H])" for place in (k, n))
            edits[old] = new
    if backward:
        joined = ", ".join(f"dz_{gate}" for gate in order)
        edits["np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=1)"] = f"np.concatenate([{joined}], axis=1)"
    swapped = "; input and forget gate are swapped" if order == "figo" else ""
    return Mistake(edits, f"the gates are taken in the order {', '.join(order)}, but z holds i, f, g, o{swapped}")


ORDERS = "ifog", "igfo", "figo", "fiog"
SLOPES = "dz_i = di * i * (1 - i)", "dz_f = df * f * (1 - f)", "dz_o = do * o * (1 - o)"
DC = "dc = dc_next + dh * o * (1 - tanh_c**2)"


def sigmoid_slopes(old, new, words):
    """A mistake in the slope of the sigmoid: for each of i, f and o alone, then for all three."""
    each = {s: {line: line.replace(old.format(s=s), new.format(s=s))} for line, s in zip(SLOPES, "ifo", strict=True)}
    return (
        *(Mistake(edits, words.format(s=s)) for s, edits in each.items()),
        Mistake({k: v for edits in each.values() for k, v in edits.items()}, words.format(s="s") + ", for s = i, f, o"),
    )


GATE_MISTAKES = (  # what spoils one result comes before what spoils several
    Mistake(
        {"do = dh * tanh_c": "do = 0", DC: DC + "; do = dc * tanh_c"},
        "dz_o starts from dc: the output gate has no part in c_t, it starts from dh",
    ),
    Mistake(
        {"dc_prev = dc * f": "dc_prev = dc * f + dc_next"},
        "dc of the next step is added to dc_prev again: it is in dc already, which the forget gate multiplies",
    ),
    Mistake(
        {DC: "dc = (dc_next + dh) * o * (1 - tanh_c**2)"},
        "dc of the next step goes through the output gate and tanh: it reaches c_t directly, add it after them",
    ),
    Mistake({"do = dh * tanh_c": "do = dh * c"}, "dz_o has c_t where tanh(c_t) belongs: h_t = o * tanh(c_t)"),
    Mistake(
        {"do = dh * tanh_c": "do = dc_next * tanh_c"},
        "dz_o starts from dc: the output gate has no part in c_t, it starts from dh",
    ),
    Mistake({"do = dh * tanh_c": "do = dh"}, "dz_o lacks the factor tanh(c_t): h_t = o * tanh(c_t)"),
    Mistake({"di = dc * g": "di = dc * i"}, "dz_i has i where g belongs: in i * g the factor of i is g"),
    Mistake({"di = dc * g": "di = dc"}, "dz_i lacks the factor g: c_t = f * c_{t-1} + i * g"),
    Mistake({"dg = dc * i": "dg = dc * g"}, "dz_g has g where i belongs: in i * g the factor of g is i"),
    Mistake({"dg = dc * i": "dg = dc"}, "dz_g lacks the factor i: c_t = f * c_{t-1} + i * g"),
    Mistake(
        {"di = dc * g": "di = dc * i", "dg = dc * i": "dg = dc * g"},
        "i and g are swapped: the factor of i is g, that of g is i",
    ),
    Mistake({"df = dc * c_prev": "df = dc * c"}, "dz_f uses c_t, this step's cell: the forget gate multiplies c_{t-1}"),
    Mistake({"df = dc * c_prev": "df = dc * f"}, "dz_f has f where c_{t-1} belongs: the factor of f is c_{t-1}"),
    Mistake({"df = dc * c_prev": "df = dc"}, "dz_f lacks the factor c_{t-1}: c_t = f * c_{t-1} + i * g"),
    Mistake(
        {"dc_prev = dc * f": "dc_prev = dc_next * f"}, "dc_prev uses the dc that came in, without the part from h_t"
    ),
    Mistake({"dc_prev = dc * f": "dc_prev = dc"}, "dc_prev lacks the forget gate: c_t = f * c_{t-1} + i * g"),
    Mistake({"dc_prev = dc * f": "dc_prev = dc * (1 - f)"}, "dc_prev has 1 - f where f belongs: f is what is kept"),
    Mistake({"dc_prev = dc * f": "dc_prev = dc * i"}, "dc_prev has the input gate where the forget gate belongs"),
    Mistake({"(1 - g**2)": "g * (1 - g)"}, "g is a tanh: its slope is 1 - g^2, g * (1 - g) is the sigmoid's"),
    Mistake({"(1 - g**2)": "(1 - g)"}, "1 - g is not the slope of tanh: 1 - g^2"),
    Mistake({"dz_g = dg * (1 - g**2)": "dz_g = dg"}, "the slope of tanh is missing: * (1 - g^2)"),
    *sigmoid_slopes(" * {s} * (1 - {s})", "", "the slope of the sigmoid is missing: * {s} * (1 - {s})"),
    *sigmoid_slopes("{s} * (1 - {s})", "(1 - {s})", "1 - {s} alone is not the slope of the sigmoid: {s} * (1 - {s})"),
    *sigmoid_slopes(
        "{s} * (1 - {s})", "(1 - {s}**2)", "{s} is a sigmoid: its slope is {s} * (1 - {s}), 1 - {s}^2 is tanh's"
    ),
    Mistake(
        {line: line[: line.index(" * ")] for line in (*SLOPES, "dz_g = dg * (1 - g**2)")},
        "these are the gradients of the gates i, f, g, o themselves; go on through sigmoid and tanh to z",
    ),
    Mistake(
        {
            "di = dc * g": "di = dc_next * g",
            "df = dc * c_prev": "df = dc_next * c_prev",
            "dg = dc * i": "dg = dc_next * i",
        },
        "the gates use the dc that came in, without the part from h_t: finish dc first",
    ),
    Mistake(
        {DC: "dc = dh * o * (1 - tanh_c**2)"}, "dc from the next step is forgotten: c_t also feeds c_{t+1}, add it"
    ),
    Mistake(
        {DC: "dc = dc_next"},
        "dc is only what came from the next step; c_t also feeds h_t, through tanh and the output gate",
    ),
    Mistake({DC: "dc = dc_next - dh * o * (1 - tanh_c**2)"}, "a sign is wrong in dc: both of its parts are added"),
    Mistake(
        {"(1 - tanh_c**2)": "(1 - tanh_c)"},
        "dc has 1 - tanh(c_t): in the slope of tanh the square is missing",
    ),
    Mistake(
        {"(1 - tanh_c**2)": "(1 - c**2)"},
        "dc has 1 - c^2: the slope of tanh is one minus the square of the tanh, not of c",
    ),
    Mistake({DC: "dc = dc_next + dh * o"}, "dc lacks the slope of tanh: h_t = o * tanh(c_t)"),
    Mistake(
        {DC: "dc = dc_next + dh * (1 - tanh_c**2)"}, "dc lacks the output gate: h_t = o * tanh(c_t), so o multiplies dh"
    ),
    Mistake({DC: "dc = dc_next + dh * f * (1 - tanh_c**2)"}, "dc has the forget gate where the output gate belongs"),
)

SLOPES_OF_Z = tuple(
    Mistake(
        {f"d{gate} * {gate} * (1 - {gate})": f"d{gate} * z_{gate} * (1 - z_{gate})"},
        f"the slope of a sigmoid is s (1 - s) of its value s, here {gate} (1 - {gate}), not z (1 - z)",
    )
    for gate in "ifo"
)

EXERCISES = (
    Exercise(
        solutions.lstm_step_forward,
        {"B": (2, 4), "D": (2, 6), "H": (2, 5)},
        draw_step,
        package_step,
        {"h": "(B, H)", "c": "(B, H)"},
        mistakes=(
            Mistake(
                {"o = sigmoid(z[:, 3 * H : 4 * H])": "o = sigmoid(z[:, 2 * H : 3 * H])"},
                "the output gate is cut from the rows of g: z holds i, f, g, o, so o is z[:, 3 * H : 4 * H]",
            ),
            Mistake(
                {"f = sigmoid(z[:, 1 * H : 2 * H])": "f = sigmoid(z[:, 1 * H : 2 * H] + 1)"},
                "1 was added to the forget gate's input: this cell has no bias but the one it is given",
            ),
            *(wrong_order(order, backward=False) for order in ORDERS),
            Mistake({"h = o * np.tanh(c)": "h = o * c"}, "the tanh of the cell is missing: h_t = o_t tanh(c_t)"),
            Mistake({"h = o * np.tanh(c)": "h = np.tanh(o * c)"}, "the output gate goes outside: h_t = o_t tanh(c_t)"),
            Mistake({"h = o * np.tanh(c)": "h = o * sigmoid(c)"}, "the cell goes through tanh, not sigmoid"),
            Mistake({"h = o * np.tanh(c)": "h = np.tanh(c)"}, "the output gate is missing: h_t = o_t tanh(c_t)"),
            Mistake(
                {"h = o * np.tanh(c)": "h = o * np.tanh(c_prev)"},
                "the old cell is read: h_t is made from c_t, after the update",
            ),
            Mistake({"g = np.tanh(": "g = sigmoid("}, "g is a tanh, not a sigmoid: it must be able to lower the cell"),
            Mistake(
                {"c = f * c_prev + i * g": "c = c_prev + i * g"}, "the forget gate is missing: it multiplies c_{t-1}"
            ),
            Mistake({"c = f * c_prev + i * g": "c = f * c_prev + g"}, "the input gate is missing: it multiplies g"),
            Mistake(
                {"c = f * c_prev + i * g": "c = f * h_prev + i * g"},
                "h_{t-1} where c_{t-1} belongs: the forget gate multiplies the cell",
            ),
            Mistake(
                {"c = f * c_prev + i * g": "c = f * c_prev + (1 - f) * g"},
                "1 - f where i belongs: this cell has an input gate of its own",
            ),
            Mistake(
                {"c = f * c_prev + i * g": "c = np.tanh(f * c_prev + i * g)"},
                "the cell is squashed: the tanh is only on the way to h",
            ),
            Mistake(
                {"c = f * c_prev + i * g": "c = (1 - f) * c_prev + i * g"},
                "1 - f where f belongs: the forget gate says how much is kept",
            ),
            Mistake({" + bias": ""}, "the bias is missing in z"),
            Mistake({" + bias": " + 2 * bias"}, "the bias is added twice: once is enough, for x and h together"),
            Mistake({" + h_prev @ weight_hh.T": ""}, "the recurrent term is missing in z"),
            Mistake(
                {"h_prev @ weight_hh.T": "c_prev @ weight_hh.T"}, "the gates read c_{t-1}: W_hh multiplies h_{t-1}"
            ),
        ),
    ),
    Exercise(
        solutions.lstm_gates_backward,
        {"B": (2, 4), "H": (2, 5)},
        draw_gates,
        package_gates_backward,
        {name: "(B, H)" for name in ("dz_i", "dz_f", "dz_g", "dz_o", "dc_prev")},
        loss=gates_loss,
        gradients={"d" + name: name for name in (*GATES, "c_prev")},
        mistakes=(
            *GATE_MISTAKES,
            Mistake({"g = np.tanh(z_g)": "g = sigmoid(z_g)"}, "g is a tanh, not a sigmoid"),
            *SLOPES_OF_Z,
        ),
    ),
    Exercise(
        solutions.lstm_step_backward,
        {"B": (2, 4), "D": (2, 6), "H": (2, 5)},
        draw_step_backward,
        package_step_backward,
        {
            "dx": "(B, D)",
            "dh_prev": "(B, H)",
            "dc_prev": "(B, H)",
            "dweight_ih": "(4H, D)",
            "dweight_hh": "(4H, H)",
            "dbias": "(4H,)",
        },
        loss=step_loss,
        gradients={"d" + name: name for name in ("x", "h_prev", "c_prev", "weight_ih", "weight_hh", "bias")},
        mistakes=(
            Mistake(
                {"dh = dout + dh_next": "dh = dout"},
                "dh of the next step is forgotten: h_t also feeds the gates of step t + 1, add it",
            ),
            Mistake(
                {"dh = dout + dh_next": "dh = dh_next"}, "dout is forgotten: h_t also feeds the layer above, add it"
            ),
            *(wrong_order(order, backward=True) for order in ORDERS),
            *(
                Mistake(
                    {"[dz_i, dz_f, dz_g, dz_o]": f"[{', '.join(f'dz_{gate}' for gate in order)}]"},
                    f"dz is joined in the order {', '.join(order)}, but the rows of W hold i, f, g, o",
                )
                for order in ORDERS
            ),
            Mistake(
                {"dz.T @ h_prev": "dz.T @ (o * tanh_c)"}, "uses h_t, this step's own output: z_t was made with h_{t-1}"
            ),
            Mistake({"dz.T @ h_prev": "dz.T @ c_prev"}, "uses c_{t-1}: z_t was made with h_{t-1}"),
            Mistake(
                {"dh_prev = dz @ weight_hh": "dh_prev = dz @ weight_hh + dh_next"},
                "dh of the next step is added again: it is in dh already",
            ),
            Mistake(
                {"dh_prev = dz @ weight_hh": "dh_prev = dh @ weight_hh[:H]"},
                "starts from dh: the road to h_{t-1} goes through dz, all four gates",
            ),
            *(
                Mistake({old: new}, "of the last row alone: = stands where += belongs in the loop over the batch")
                for old, new in (
                    ("dz.T @ x", "dz[-1:].T @ x[-1:]"),
                    ("dz.T @ h_prev", "dz[-1:].T @ h_prev[-1:]"),
                    ("dz.sum(axis=0)", "dz[-1]"),
                )
            ),
            Mistake({"dz.sum(axis=0)": "dz.mean(axis=0)"}, "a mean over the batch where the sum is meant"),
            *GATE_MISTAKES,
        ),
    ),
)
