"""Wrong answers to the exercises of lesson 2: (exercise, function, words the judge must say)."""

import numpy as np


def not_shifted(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def shifted_by_one_number(x):
    e = np.exp(x - np.max(x))
    return e / np.sum(e, 1)[:, None]


def over_columns(x):
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def shifted_by_the_least(x):
    rows = []
    for row in x:
        e = np.exp(row - min(row))
        rows.append(e / sum(e))
    return np.array(rows)


def shifted_by_the_mean(x):
    e = np.exp((x.T - x.mean(1)).T)
    return (e.T / e.sum(1)).T


def never_divided(x):
    return np.exp(x - np.amax(x, 1)[:, None])


def hard(x):
    return np.eye(x.shape[1])[np.argmax(x, 1)]


def the_log_of_it(x):
    y = x - x.max(-1)[:, None]
    return y - np.log(np.exp(y).sum(-1))[:, None]


def upside_down(x):
    return probabilities(-x)


def of_powers_of_two(x):
    e = 2.0 ** (x - x.max(1)[:, None])
    return e / e.sum(1)[:, None]


def in_place(x):
    x -= x.max(1)[:, None]
    np.exp(x, out=x)
    x /= x.sum(1)[:, None]
    return x


def the_first_row_alone(x):
    return probabilities(x)[0]


def probabilities(logits):
    e = np.exp(logits - logits.max(1)[:, None])
    return e / e.sum(1)[:, None]


def pushes_the_target_down(logits, targets):
    onehot = np.eye(logits.shape[1])[targets]
    return (probabilities(logits) + onehot) / len(targets)


def no_target(logits, targets):
    return probabilities(logits) / targets.size


def forgets_the_mean(logits, targets):
    return probabilities(logits) - np.eye(logits.shape[1])[targets]


def wrong_sign(logits, targets):
    return (np.eye(logits.shape[1])[targets] - probabilities(logits)) / len(targets)


def divides_by_the_vocabulary(logits, targets):
    return (probabilities(logits) - np.eye(logits.shape[1])[targets]) / logits.shape[1]


def divides_by_all(logits, targets):
    return (probabilities(logits) - np.eye(logits.shape[1])[targets]) / logits.size


def of_the_target_alone(logits, targets):
    return (probabilities(logits) - np.eye(logits.shape[1])[targets])[np.arange(len(targets)), targets]


def zero_beside_the_target(logits, targets):
    p, d = probabilities(logits), np.zeros(logits.shape)
    for n, v in enumerate(targets):
        d[n, v] = (p[n, v] - 1) / len(targets)
    return d


def stops_at_p(logits, targets):
    p, d = probabilities(logits), np.zeros(logits.shape)
    for n, v in enumerate(targets):
        d[n, v] = -1 / p[n, v] / len(targets)
    return d


def with_the_slope_of_a_sigmoid(logits, targets):
    p = probabilities(logits)
    d = p - np.eye(logits.shape[1])[targets]
    return d * p * (1 - p) / len(targets)


def without_softmax(logits, targets):
    return (logits - np.eye(logits.shape[1])[targets]) / len(targets)


def every_targets_column(logits, targets):
    d = probabilities(logits)
    d[:, targets] -= 1.0
    return d / len(d)


def two_turned(logits, targets):
    return -(probabilities(logits) - np.eye(logits.shape[1])[targets])


def in_loops(hidden, targets, weight, bias, scale=None, one_hot=1.0, last_weight=False, last_bias=False):
    """The layer, one word at a time, with places to go wrong."""
    T, B, _ = hidden.shape
    dh, dw, db = np.zeros(hidden.shape), np.zeros(weight.shape), np.zeros(bias.shape)
    for t in range(T):
        if last_weight:
            dw[:] = 0
        if last_bias:
            db[:] = 0
        for b in range(B):
            d = probabilities((weight @ hidden[t, b] + bias)[None])[0]
            d[targets[t, b]] -= one_hot
            d = d / B if scale is None else d * scale(T, B)
            dh[t, b] = d @ weight
            dw += np.outer(d, hidden[t, b])
            db += d
    return dh, dw, db


def mean_over_time_too(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, lambda T, B: 1 / T / B)


def mean_over_time(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, lambda T, B: 1 / T)


def no_mean(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, lambda T, B: 1)


def uphill(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, lambda T, B: -1 / B)


def without_a_target(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, one_hot=0)


def adds_the_target(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, one_hot=-1)


def without_the_bias(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, 0 * bias)


def weight_of_the_last_step(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, last_weight=True)


def weight_and_bias_of_the_last_step(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, last_weight=True, last_bias=True)


def bias_averaged(hidden, targets, weight, bias):
    dh, dw, db = in_loops(hidden, targets, weight, bias)
    return dh, dw, db / targets.size


def weight_transposed(hidden, targets, weight, bias):
    dh, dw, db = in_loops(hidden, targets, weight, bias)
    return dh, dw.T, db


def forgets_the_bias(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias)[:2]


def hidden_averaged_and_bias_of_the_last_step(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight, bias, lambda T, B: 1 / T / B, last_bias=True)


def streams_mixed(hidden, targets, weight, bias):
    T, B, H = hidden.shape
    flat = hidden.reshape(-1, H)
    d = probabilities(flat @ weight.T + bias) - np.eye(len(bias))[targets.T.ravel()]
    d /= B
    return np.reshape(d @ weight, (T, B, H)), d.T @ flat, d.sum(0)


def matrix_turned(hidden, targets, weight, bias):
    return in_loops(hidden, targets, weight.T, bias)


def overwrites_the_target(logits, targets):
    d = probabilities(logits)
    d[range(len(d)), targets] = -1
    return d / len(d)


def exp_alone(logits, targets):
    return (np.exp(logits) - np.eye(logits.shape[1])[targets]) / len(targets)


def hidden_of_the_step_before(hidden, targets, weight, bias):
    dh, _, db = in_loops(hidden, targets, weight, bias)
    d = probabilities(hidden.reshape(-1, hidden.shape[2]) @ weight.T + bias) - np.eye(len(bias))[targets.ravel()]
    d = d.reshape(*targets.shape, -1) / targets.shape[1]
    return dh, sum(d[t].T @ hidden[t - 1] for t in range(len(d))), db


WRONG = [
    ("softmax", not_shifted, "exp overflows"),
    ("softmax", shifted_by_one_number, "take each row's own"),
    ("softmax", over_columns, "each column sums to 1"),
    ("softmax", shifted_by_the_least, "subtract the largest of the row"),
    ("softmax", shifted_by_the_mean, "subtract the largest of the row"),
    ("softmax", never_divided, "not divided by the sum of its row"),
    ("softmax", hard, "all or nothing"),
    ("softmax", the_log_of_it, "this is log p"),
    ("softmax", upside_down, "the sign in the exponent"),
    ("softmax", of_powers_of_two, "max relative error"),
    ("softmax", in_place, "changes its argument logits in place"),
    ("softmax", the_first_row_alone, "wrong shape"),
    ("cross_entropy_backward", pushes_the_target_down, "sign of the one-hot"),
    ("cross_entropy_backward", no_target, "one-hot of the target is missing"),
    ("cross_entropy_backward", forgets_the_mean, "a sum where the mean is meant"),
    ("cross_entropy_backward", wrong_sign, "not onehot - p"),
    ("cross_entropy_backward", divides_by_the_vocabulary, "divided by V"),
    ("cross_entropy_backward", divides_by_all, "divided by N V"),
    ("cross_entropy_backward", of_the_target_alone, "wrong shape"),
    ("cross_entropy_backward", zero_beside_the_target, "right at the targets and zero elsewhere"),
    ("cross_entropy_backward", stops_at_p, "go on through softmax"),
    ("cross_entropy_backward", with_the_slope_of_a_sigmoid, "one factor too many"),
    ("cross_entropy_backward", without_softmax, "softmax is missing"),
    ("cross_entropy_backward", every_targets_column, "every target's column in every row"),
    ("cross_entropy_backward", two_turned, "off by a factor of -N"),
    ("softmax_layer_backward", mean_over_time_too, "divided by T B"),
    ("softmax_layer_backward", mean_over_time, "divided by T;"),
    ("softmax_layer_backward", no_mean, "not divided by B"),
    ("softmax_layer_backward", uphill, "not onehot - p"),
    ("softmax_layer_backward", without_a_target, "one-hot of the target is missing"),
    ("softmax_layer_backward", adds_the_target, "the sign of the one-hot"),
    ("softmax_layer_backward", without_the_bias, "without the bias"),
    ("softmax_layer_backward", weight_of_the_last_step, "dweight: of the last time step alone"),
    ("softmax_layer_backward", weight_and_bias_of_the_last_step, "dbias: of the last time step alone"),
    ("softmax_layer_backward", bias_averaged, "dbias: a mean where the sum is meant"),
    ("softmax_layer_backward", weight_transposed, "it is transposed"),
    ("softmax_layer_backward", forgets_the_bias, "returned 2 results, expected 3"),
    ("softmax_layer_backward", hidden_averaged_and_bias_of_the_last_step, "divided by T B"),
    ("softmax_layer_backward", hidden_averaged_and_bias_of_the_last_step, "of the last time step alone"),
    ("softmax_layer_backward", streams_mixed, "in another order than hidden"),
    ("softmax_layer_backward", matrix_turned, "stopped with ValueError"),
    ("cross_entropy_backward", overwrites_the_target, "subtract 1 from it"),
    ("cross_entropy_backward", exp_alone, "missing its denominator"),
    ("softmax_layer_backward", hidden_of_the_step_before, "off by one step in time"),
]
