"""A character-level LSTM language model in one file of NumPy, every gradient by hand: python min_lstm.py [TEXT]

(1)  z_t = W_ih x_t + W_hh h_{t-1} + b                 x_t (V,): one-hot, V different characters
(2)  i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
(3)  c_t = f * c_{t-1} + i * g
(4)  h_t = o * tanh(c_t)
(5)  s_t = W_out h_t + b_out
(6)  p_t = softmax(s_t)                                the prediction of character t + 1
(7)  loss = sum_t -log p_t[character t + 1], mean over the batch
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # set before NumPy loads: for products this small threads only wait
import numpy as np

T, B, H = 32, 32, 128  # steps in a window of truncated BPTT, streams read side by side, hidden size
LEARNING_RATE, MAX_GRAD_NORM, INIT_SCALE = 1.0, 5.0, 0.1


def init_params(rng, V, H):
    shapes = {"W_ih": (4 * H, V), "W_hh": (4 * H, H), "b": (4 * H,), "W_out": (V, H), "b_out": (V,)}
    return {name: rng.uniform(-INIT_SCALE, INIT_SCALE, shape) for name, shape in shapes.items()}


def sigmoid(z):
    return 0.5 * np.tanh(0.5 * z) + 0.5  # 1 / (1 + exp(-z)), without an exp that could overflow


def step_forward(params, x, h_prev, c_prev):
    z = x @ params["W_ih"].T + h_prev @ params["W_hh"].T + params["b"]  # (1) (B, 4H)
    z_i, z_f, z_g, z_o = np.split(z, 4, axis=1)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)  # (2) (B, H) each
    c = f * c_prev + i * g  # (3) (B, H)
    h = o * np.tanh(c)  # (4) (B, H)
    s = h @ params["W_out"].T + params["b_out"]  # (5) (B, V)
    exps = np.exp(s - s.max(axis=1, keepdims=True))
    p = exps / exps.sum(axis=1, keepdims=True)  # (6) (B, V)
    return p, h, c, (x, h_prev, c_prev, i, f, g, o, c, h, p)


def step_backward(params, grads, target, dh_next, dc_next, cache):
    """The lines of step_forward from last to first; dh is the gradient of the loss with respect to h, and so on."""
    x, h_prev, c_prev, i, f, g, o, c, h, p = cache
    ds = (p - target) / len(p)  # (7), (6) (B, V)
    grads["W_out"] += ds.T @ h  # (5)
    grads["b_out"] += ds.sum(axis=0)  # (5)
    dh = ds @ params["W_out"] + dh_next  # (5) (B, H); dh_next, because step t + 1 uses h_t in (1)
    do = dh * np.tanh(c)  # (4)
    dc = dh * o * (1 - np.tanh(c) ** 2) + dc_next  # (4); dc_next, because step t + 1 uses c_t in (3)
    di, df, dg, dc_prev = dc * g, dc * c_prev, dc * i, dc * f  # (3)
    dz = np.hstack([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)])  # (2) (B, 4H)
    grads["W_ih"] += dz.T @ x  # (1)
    grads["W_hh"] += dz.T @ h_prev  # (1)
    grads["b"] += dz.sum(axis=0)  # (1)
    return dz @ params["W_hh"], dc_prev  # (1); dh_next and dc_next of step t - 1


def loss_and_gradients(params, ids, h, c):
    onehot = np.eye(len(params["b_out"]))[ids]  # ids (T + 1, B) -> (T + 1, B, V)
    loss, caches, grads = 0.0, [], {name: np.zeros_like(param) for name, param in params.items()}
    for t in range(len(ids) - 1):
        p, h, c, cache = step_forward(params, onehot[t], h, c)
        loss -= np.log(p[onehot[t + 1] == 1]).mean()  # (7)
        caches.append(cache)
    dh_next, dc_next = np.zeros_like(h), np.zeros_like(c)  # truncated: nothing comes back from the next window
    for t in reversed(range(len(caches))):
        dh_next, dc_next = step_backward(params, grads, onehot[t + 1], dh_next, dc_next, caches[t])
    return loss, grads, h, c


def check_gradients(rng, V=5, H=4, eps=1e-3):
    params = {name: 5 * param for name, param in init_params(rng, V, H).items()}  # 5: away from where gates are linear
    ids, (h, c), errors = rng.integers(V, size=(5, 3)), rng.normal(size=(2, 3, H)), []
    grads = loss_and_gradients(params, ids, h, c)[1]
    for name, param in params.items():
        for index, value in np.ndenumerate(param.copy()):
            numeric = 0.0
            for k, weight in (-2, 1), (-1, -8), (1, 8), (2, -1):  # two central differences whose eps^2 errors cancel
                param[index] = value + k * eps
                numeric += weight * loss_and_gradients(params, ids, h, c)[0] / (12 * eps)
            param[index] = value
            errors.append(abs(grads[name][index] - numeric) / abs(grads[name]).max())
    return np.max(errors)


def generate(params, rng, chars, first, length):
    ids, (h, c) = [first], np.zeros((2, 1, H))
    for _ in range(length):
        p, h, c, _ = step_forward(params, np.eye(len(chars))[ids[-1:]], h, c)
        ids.append(rng.choice(len(chars), p=p[0]))
    return "".join(chars[ids[1:]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=Path(__file__).parents[1] / "data/toy/train.txt")
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    try:
        text = args.text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        parser.exit(2, f"min_lstm.py: cannot read {args.text} as UTF-8 text: {problem}\n")
    if len(text) < B * (T + 1):
        parser.exit(2, f"min_lstm.py: {args.text} has fewer than {B * (T + 1)} characters; give a longer text\n")
    rng = np.random.default_rng(0)
    error = check_gradients(rng)
    print(f"gradients: worst relative error {error:.1e}", flush=True)
    if not error < 1e-7:
        parser.exit(1, "min_lstm.py: a gradient is wrong\n")

    chars, ids = np.unique(list(text), return_inverse=True)  # (V,), and the text as numbers below V
    data = ids[: len(ids) // B * B].reshape(B, -1).T  # (batch_len, B): each column is a stream, a stretch of the text
    params, losses = init_params(rng, len(chars), H), []
    for step in range(args.steps):
        start = step % ((len(data) - 1) // T) * T
        if start == 0:
            h, c = np.zeros((2, B, H))  # after that the state is carried from window to window
        loss, grads, h, c = loss_and_gradients(params, data[start : start + T + 1], h, c)
        norm = np.sqrt(sum((grad**2).sum() for grad in grads.values()))
        for name, grad in grads.items():
            params[name] -= LEARNING_RATE * grad * MAX_GRAD_NORM / max(norm, MAX_GRAD_NORM)  # SGD, clipped
        losses.append(loss / T)
        if step % 100 == 99:
            perplexity, sample = np.exp(np.mean(losses[-100:])), generate(params, rng, chars, ids[-1], 60)
            print(f"step {step + 1:5}  perplexity {perplexity:6.3f}  {sample!r}", flush=True)
    print(generate(params, rng, chars, ids[-1], 500))
