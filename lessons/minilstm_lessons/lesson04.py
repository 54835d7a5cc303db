"""Lesson 4, a recurrent network and backpropagation through time: its drawing and its exercises."""

from matplotlib.patches import Circle, FancyBboxPatch

from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.rnn import rnn_backward, rnn_forward
from minilstm_lessons.solutions import lesson04 as solutions
from minilstm_lessons.style import BLUE, GREY, RED

SIZES = {"B": (2, 5), "D": (2, 6), "H": (3, 6)}
GRADIENTS = {"dx": "(B, D)", "dh_prev": "(B, H)", "dW_ih": "(H, D)", "dW_hh": "(H, H)", "db": "(H,)"}
BPTT_GRADIENTS = {"dx": "(T, B, D)", "dh_start": "(B, H)", "dW_ih": "(H, D)", "dW_hh": "(H, H)", "db": "(H,)"}


def draw_unrolled(ax, T=4):
    """Draw the network unrolled over T steps: forward arrows solid, backward arrows dashed beside them."""

    def arrow(start, end, label, backward, offset):
        style = {"color": RED if backward else BLUE, "linestyle": (0, (4, 2)) if backward else "-"}
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linewidth": 2, "mutation_scale": 18, **style})
        middle = (start[0] + end[0]) / 2 + offset[0], (start[1] + end[1]) / 2 + offset[1]
        ax.text(*middle, label, color=style["color"], ha="center", va="center", fontsize=13)

    def box(x, y, label):
        ax.add_patch(
            FancyBboxPatch((x - 0.26, y - 0.2), 0.52, 0.4, boxstyle="round,pad=0.04", fc="white", ec=GREY, lw=1.5)
        )
        ax.text(x, y, label, ha="center", va="center", fontsize=14)

    width, beside = 2.3, 0.12  # from step to step; half the gap between an arrow and the one that goes back
    box(-width + 0.35, 0, "$h_{-1}$")
    for t in range(T):
        x = width * t
        ax.add_patch(Circle((x, 0), 0.42, fc="white", ec="black", lw=2))
        ax.text(x, 0, f"$h_{t}$", ha="center", va="center", fontsize=16)
        box(x, -1.6, f"$x_{t}$")
        box(x, 1.6, f"$L_{t}$")
        start = x - width + (0.42 if t else 0.65)
        arrow((start, beside), (x - 0.4, beside), "$W_{hh}$", False, (0, 0.2))
        arrow((x - 0.4, -beside), (start, -beside), f"$W_{{hh}}^\\top dz_{t}$", True, (0, -0.27))
        arrow((x - beside, -1.36), (x - beside, -0.4), "$W_{ih}$", False, (-0.32, -0.1))
        arrow((x + beside, -0.4), (x + beside, -1.36), f"$W_{{ih}}^\\top dz_{t}$", True, (0.52, -0.12))
        arrow((x - beside, 0.4), (x - beside, 1.36), "", False, (0, 0))
        arrow((x + beside, 1.36), (x + beside, 0.4), f"$dout_{t}$", True, (0.45, 0.1))
    ax.text(width * (T - 1) + 0.6, 0, "time $\\rightarrow$", va="center", fontsize=13, color=GREY)
    ax.set(xlim=(-width, width * (T - 1) + 1.5), ylim=(-1.95, 1.95), aspect="equal")
    ax.axis("off")


def named(W_ih, W_hh, b):
    """The parameters as rnn.py has them."""
    return {"weight_ih": W_ih, "weight_hh": W_hh, "bias": b}


def draw_params(rng, D, H):
    return {
        "W_ih": rng.standard_normal((H, D)) / D**0.5,
        "W_hh": rng.standard_normal((H, H)) / H**0.5,
        "b": 0.5 * rng.standard_normal(H),
    }


def draw_step(rng, B, D, H):
    return {"x": rng.standard_normal((B, D)), "h_prev": rng.uniform(-0.9, 0.9, (B, H)), **draw_params(rng, D, H)}


def step_forward(x, h_prev, W_ih, W_hh, b):
    return rnn_forward(x[None], h_prev, named(W_ih, W_hh, b))[0][0]


def draw_step_backward(rng, B, D, H):
    step = draw_step(rng, B, D, H)
    x, h_prev, *params = step.values()
    dh = rng.standard_normal((B, H))
    h = step_forward(**step)
    return {"dh": dh, "x": x, "h_prev": h_prev, "h": h, **dict(zip(("W_ih", "W_hh", "b"), params, strict=True))}


def step_backward(dh, x, h_prev, h, W_ih, W_hh, b):
    _, cache = rnn_forward(x[None], h_prev, named(W_ih, W_hh, b))
    dx, dh_prev, grads = rnn_backward(dh[None], cache)
    return dx[0], dh_prev, *grads.values()


def step_loss(dh, x, h_prev, h, W_ih, W_hh, b):
    """A loss whose gradient with respect to the new state is dh."""
    return (dh * step_forward(x, h_prev, W_ih, W_hh, b)).sum()


def draw_window(rng, T, B, D, H):
    params = draw_params(rng, D, H)
    x, h_start = rng.standard_normal((T, B, D)), rng.uniform(-0.9, 0.9, (B, H))
    h, _ = rnn_forward(x, h_start, named(**params))
    return {"douts": rng.standard_normal((T, B, H)), "x": x, "h_start": h_start, "h": h.copy(), **params}


def window_backward(douts, x, h_start, h, W_ih, W_hh, b):
    _, cache = rnn_forward(x, h_start, named(W_ih, W_hh, b))
    dx, dh_start, grads = rnn_backward(douts, cache)
    return dx, dh_start, *grads.values()


def window_loss(douts, x, h_start, h, W_ih, W_hh, b):
    """A loss whose gradient with respect to the output of every step, at this output alone, is douts."""
    return (douts * rnn_forward(x, h_start, named(W_ih, W_hh, b))[0]).sum()


LAST_ROW = tuple(
    Mistake({f"{name} = {right}": f"{name} = {last}"}, words)
    for words in ["of the last row alone: = stands where += belongs in the loop over the batch"]
    for name, right, last in (
        ("dW_ih", "dz.T @ x", "dz[-1:].T @ x[-1:]"),
        ("dW_hh", "dz.T @ h_prev", "dz[-1:].T @ h_prev[-1:]"),
        ("db", "dz.sum(axis=0)", "dz[-1]"),
    )
)

EXERCISES = (
    Exercise(
        solutions.rnn_step_forward,
        SIZES,
        draw_step,
        step_forward,
        {"h": "(B, H)"},
        mistakes=(
            Mistake(
                {"from_input + from_past + b": "from_input + from_past + 2 * b"},
                "the bias is added twice: once is enough, for input and past together",
            ),
            Mistake({"from_input + from_past + b": "from_input + from_past"}, "the bias b is missing"),
            Mistake(
                {"z = from_input + from_past + b": "z = from_input + from_past", "np.tanh(z)": "np.tanh(z) + b"},
                "the bias is added after tanh, so that the state leaves (-1, 1): it belongs in the sum, inside",
            ),
            Mistake(
                {"from_input + from_past + b": "from_input + b"},
                "the past is missing: without W_hh h_{t-1} the network has no memory",
            ),
            Mistake(
                {"from_input + from_past + b": "from_past + b"}, "the input is missing: W_ih x_t belongs in the sum"
            ),
            Mistake(
                {"h_prev @ W_hh.T": "h_prev @ W_hh"},
                "W_hh is the wrong way round, and its square shape cannot show it: with rows as vectors, "
                "W_hh h takes its transpose",
            ),
            Mistake({"return np.tanh(z)": "return z"}, "this is z: tanh is still to come"),
            Mistake(
                {"return np.tanh(z)": "return 1 / (1 + np.exp(-z))"},
                "this is the sigmoid of z, between 0 and 1; the state is its tanh, between -1 and 1",
            ),
            Mistake({"return np.tanh(z)": "return np.maximum(z, 0)"}, "this is relu(z); the state is the tanh of z"),
            Mistake(
                {"from_input + from_past + b": "from_input - from_past + b"},
                "W_hh h_{t-1} has the wrong sign: add it",
            ),
            Mistake(
                {"z = from_input + from_past + b": "z = np.tanh(from_input + b) + from_past"},
                "the past belongs inside the tanh: first the whole sum z, then tanh",
            ),
            Mistake(
                {"return np.tanh(z)": "return np.tanh(z) + h_prev"},
                "h_{t-1} was added once more after tanh: the new state replaces the old one",
            ),
        ),
    ),
    Exercise(
        solutions.rnn_step_backward,
        SIZES,
        draw_step_backward,
        step_backward,
        GRADIENTS,
        loss=step_loss,
        gradients={"dx": "x", "dh_prev": "h_prev", "dW_ih": "W_ih", "dW_hh": "W_hh", "db": "b"},
        mistakes=(
            Mistake(
                {"dW_hh = dz.T @ h_prev": "dW_hh = h.T @ dz"},
                "the wrong state and transposed: row j belongs to dz_j, and the state is the one before the step",
            ),
            Mistake(
                {"slope = 1 - h**2": "slope = np.sqrt(1 - h**2)"},
                "a square is missing: the slope of tanh is 1 / cosh(z)^2 = 1 - h^2",
            ),
            Mistake(
                {"dh_prev = dz @ W_hh": "dh_prev = dh @ W_hh"},
                "the gradient goes through tanh first: use dz, not dh",
            ),
            Mistake({"dx = dz @ W_ih": "dx = dh @ W_ih"}, "the gradient goes through tanh first: use dz, not dh"),
            Mistake({"dW_ih = dz.T @ x": "dW_ih = dh.T @ x"}, "the gradient goes through tanh first: use dz, not dh"),
            Mistake(
                {"dW_hh = dz.T @ h_prev": "dW_hh = dh.T @ h_prev"},
                "the gradient goes through tanh first: use dz, not dh",
            ),
            Mistake({"db = dz.sum(axis=0)": "db = dh.sum(axis=0)"}, "the gradient goes through tanh first: use dz"),
            Mistake(
                {"slope = 1 - h**2": "slope = 1"},
                "the slope of tanh is missing: dz = dh (1 - h^2)",
            ),
            Mistake({"slope = 1 - h**2": "slope = 1 - h"}, "the slope of tanh is 1 - h^2, not 1 - h"),
            Mistake(
                {"slope = 1 - h**2": "slope = h * (1 - h)"},
                "h (1 - h) is the slope of the sigmoid; that of tanh is 1 - h^2",
            ),
            Mistake(
                {"slope = 1 - h**2": "slope = 1 - np.tanh(h) ** 2"},
                "h is tanh(z) already: the slope is 1 - h^2, without another tanh",
            ),
            Mistake(
                {"slope = 1 - h**2": "slope = 1 - h_prev**2"},
                "the slope is taken at the wrong state: 1 - h^2 with the new h, not with h_prev",
            ),
            Mistake({"slope = 1 - h**2": "slope = 1 + h**2"}, "the slope of tanh is 1 - h^2, not 1 + h^2"),
            Mistake({"slope = 1 - h**2": "slope = h**2 - 1"}, "a sign is wrong: the slope of tanh is 1 - h^2"),
            Mistake(
                {"dh_prev = dz @ W_hh": "dh_prev = dz @ W_hh.T"},
                "W_hh is the wrong way round, and its square shape cannot show it: the way back takes the "
                "transpose of what the way forward takes",
            ),
            Mistake(
                {"dW_hh = dz.T @ h_prev": "dW_hh = dz.T @ h"},
                "the wrong state: W_hh was multiplied with the state before the step, h_prev, not with h",
            ),
            Mistake(
                {"dW_hh = dz.T @ h_prev": "dW_hh = h_prev.T @ dz"},
                "transposed, and its square shape cannot show it: row j of dW_hh belongs to dz_j, as in W_hh",
            ),
            Mistake(
                {"db = dz.sum(axis=0)": "db = dz.mean(axis=0)"},
                "a mean where the sum over the batch is meant: dh has the 1 / B in it where there is one",
            ),
            Mistake(
                {"dW_ih = dz.T @ x": "dW_ih = dz.T @ x / len(x)"},
                "divided by B: dh has the 1 / B in it where there is one",
            ),
            Mistake(
                {"dW_hh = dz.T @ h_prev": "dW_hh = dz.T @ h_prev / len(x)"},
                "divided by B: dh has the 1 / B in it where there is one",
            ),
            Mistake(
                {"dh_prev = dz @ W_hh": "dh_prev = dz @ W_hh + dh"},
                "dh was added again: h_{t-1} reaches h_t only through W_hh",
            ),
            Mistake({"db = dz.sum(axis=0)": "db = dz[0]"}, "only the first row of the batch: sum over the batch"),
            *LAST_ROW,
            Mistake(
                {new: old for edits, _ in LAST_ROW for new, old in edits.items()},
                "of the last row alone: = stands where += belongs in the loop over the batch",
            ),
            Mistake({"dx = dz @ W_ih": "dx = (dz @ W_ih)[::-1]"}, "the rows are in reverse order"),
        ),
    ),
    Exercise(
        solutions.rnn_bptt,
        {"T": (3, 6), **SIZES},
        draw_window,
        window_backward,
        BPTT_GRADIENTS,
        loss=window_loss,
        gradients={"dx": "x", "dh_start": "h_start", "dW_ih": "W_ih", "dW_hh": "W_hh", "db": "b"},
        mistakes=(
            Mistake(
                {"dx, dh_next, dW_ih, dW_hh, db": "dx[::-1], dh_next, dW_ih, dW_hh, db"},
                "the steps are in reverse order: a list that is filled from the last step on has to be turned round",
            ),
            Mistake(
                {"dh = douts[t] + dh_next": "dh = douts[t] + dh_next / 2"},
                "half of what step t + 1 hands back: both roads add up in full",
            ),
            Mistake(
                {"dz = dh * (1 - h[t] ** 2)": "dz = douts[t] * (1 - h[t] ** 2) + dh_next"},
                "what step t + 1 hands back goes round the tanh: add it to the gradient of the output first",
            ),
            Mistake(
                {"dh = douts[t] + dh_next": "dh = (douts[t] + dh_next) / 2"}, "the two roads were averaged: they add up"
            ),
            Mistake(
                {"dh = douts[t] + dh_next": "dh = douts[t]"},
                "what step t + 1 hands back is forgotten: h_t feeds its output and the next step, so both add up in dh",
            ),
            Mistake(
                {"dh = douts[t] + dh_next": "dh = dh_next if t < T - 1 else douts[t]"},
                "only the last output's gradient is used: at every step add douts[t]",
            ),
            Mistake(
                {"dh = douts[t] + dh_next": "dh = douts[t] - dh_next"},
                "the sign of what step t + 1 hands back is wrong: both roads add up in dh",
            ),
            Mistake(
                {"dh_next = dz @ W_hh": "dh_next = dz @ W_hh.T"},
                "W_hh is the wrong way round on the road back, and its square shape cannot show it",
            ),
            Mistake(
                {"dh_next = dz @ W_hh": "dh_next = dh @ W_hh"},
                "what goes back to step t - 1 must pass tanh first: use dz, not dh",
            ),
            Mistake(
                {"dh_next = dz @ W_hh": "dh_next = dh_next + dz @ W_hh"},
                "what is handed back piles up: dh_next is replaced at each step, not added to",
            ),
            Mistake({"dh_next = dz @ W_hh": "dh_next = dz"}, "W_hh is missing on the road back"),
            Mistake(
                {"dW_hh += dz.T @ h_prev": "dW_hh = dz.T @ h_prev"},
                "only one step is left: the weights are used at every step, so their gradients add up (+=)",
            ),
            Mistake(
                {"dW_ih += dz.T @ x[t]": "dW_ih = dz.T @ x[t]"},
                "only one step is left: the weights are used at every step, so their gradients add up (+=)",
            ),
            Mistake(
                {"db += dz.sum(axis=0)": "db = dz.sum(axis=0)"},
                "only one step is left: the bias is used at every step, so its gradients add up (+=)",
            ),
            Mistake(
                {"dW_hh += dz.T @ h_prev": "dW_hh += dz.T @ h[t]"},
                "off by one step: at step t, W_hh was multiplied with h_{t-1}, which is h[t - 1], or h_start at t = 0",
            ),
            Mistake(
                {"h[t - 1] if t > 0 else h_start": "h[t - 1]"},
                "at t = 0 the state before is h_start; Python reads h[-1] as the last state of the window",
            ),
            Mistake(
                {"h[t - 1] if t > 0 else h_start": "h[t - 1] if t > 0 else 0 * h_start"},
                "at t = 0 the state before is h_start, which need not be zero",
            ),
            Mistake(
                {"for t in range(T - 1, -1, -1)": "for t in range(T)"},
                "the loop runs forward in time: the gradient of step t needs that of step t + 1, so start at the last",
            ),
            Mistake(
                {"for t in range(T - 1, -1, -1)": "for t in range(T - 1, 0, -1)"},
                "the loop stops before step 0: the end of a range is not in it",
            ),
            Mistake(
                {"for t in range(T - 1, -1, -1)": "for t in range(T - 2, -1, -1)"},
                "the loop leaves out the last step, T - 1",
            ),
            Mistake(
                {"(1 - h[t] ** 2)": "(1 - h[t])"},
                "the slope of tanh is 1 - h^2, not 1 - h",
            ),
            Mistake(
                {"(1 - h[t] ** 2)": "(1 - h_prev ** 2)"},
                "the slope is taken one step too early: 1 - h_t^2, not 1 - h_{t-1}^2",
            ),
            Mistake({"(1 - h[t] ** 2)": "1"}, "the slope of tanh is missing: dz = dh (1 - h_t^2)"),
            Mistake(
                {"(1 - h[t] ** 2)": "(h[t] * (1 - h[t]))"},
                "h (1 - h) is the slope of the sigmoid; that of tanh is 1 - h^2",
            ),
            Mistake(
                {"dW_hh += dz.T @ h_prev": "dW_hh += h_prev.T @ dz"},
                "transposed, and its square shape cannot show it: row j of dW_hh belongs to dz_j, as in W_hh",
            ),
            Mistake(
                {"return dx, dh_next,": "return dx, dh,"},
                "this is dh of step 0; the gradient of h_start is one product further",
            ),
            Mistake(
                {"dx, dh_next, dW_ih, dW_hh, db": "dx, dh_next, dW_ih / T, dW_hh / T, db / T"},
                "divided by T: the steps add up, they are not averaged",
            ),
        ),
    ),
)
