"""Wrong answers to the exercises of lesson 3: (exercise, function, words the judge must say)."""

import numpy as np


def shifted(x, index, h):
    y = np.array(x)
    y[index] += h
    return y


def one_by_one(slope, x):
    return np.array([[slope((i, j)) for j in range(x.shape[1])] for i in range(x.shape[0])])


def forward(f, x, h):
    return one_by_one(lambda at: (f(shifted(x, at, h)) - f(x)) / h, x)


def backward(f, x, h):
    return one_by_one(lambda at: (f(x) - f(shifted(x, at, -h))) / h, x)


def without_the_two(f, x, h):
    return one_by_one(lambda at: (f(shifted(x, at, h)) - f(shifted(x, at, -h))) / h, x)


def forward_over_two_h(f, x, h):
    return one_by_one(lambda at: (f(shifted(x, at, h)) - f(x)) / (2 * h), x)


def precedence(f, x, h):
    return one_by_one(lambda at: (f(shifted(x, at, h)) - f(shifted(x, at, -h))) / 2 * h, x)


def turned(f, x, h):
    return one_by_one(lambda at: (f(shifted(x, at, -h)) - f(shifted(x, at, h))) / (2 * h), x)


def undivided(f, x, h):
    return one_by_one(lambda at: f(shifted(x, at, h)) - f(shifted(x, at, -h)), x)


def half_the_step(f, x, h):
    return one_by_one(lambda at: (f(shifted(x, at, h / 2)) - f(shifted(x, at, -h / 2))) / (2 * h), x)


def all_at_once(f, x, h):
    return np.full_like(x, (f(x + h) - f(x - h)) / (2 * h))


def row_at_once(f, x, h):
    out = np.zeros_like(x)
    for i in range(len(x)):
        out[i] = (f(shifted(x, i, h)) - f(shifted(x, i, -h))) / (h + h)
    return out


def two_names_for_one_array(f, x, h):
    x = x + 0
    out = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        high = low = x
        high[at] += h
        low[at] -= h
        out[at] = (f(high) - f(low)) / (2 * h)
    return out


def left_moved(f, x, h):
    x, out = x.copy(), np.empty(x.shape)
    for at in np.ndindex(*x.shape):
        x[at] += h
        high = f(x)
        x[at] -= 2 * h
        low = f(x)
        out[at] = (high - low) / (2 * h)
    return out


def argument_moved(f, x, h):
    out = np.empty(x.shape)
    for at in np.ndindex(*x.shape):
        x[at] += h
        high = f(x)
        x[at] -= 2 * h
        out[at] = (high - f(x)) / (2 * h)
    return out


def one_slope(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def absolute(a, n, s):
    return np.abs(a - n)


def keeps_the_sign(a, n, s):
    return (a - n) / np.maximum.reduce([np.abs(a), np.abs(n), np.full(a.shape, s)])


def no_floor(a, n, s):
    return np.abs(a - n) / np.maximum(np.abs(a), np.abs(n))


def adds_the_floor(a, n, s):
    return np.abs(a - n) / (np.maximum(np.abs(a), np.abs(n)) + s)


def by_the_analytic(a, n, s):
    return np.abs(a - n) / np.clip(np.abs(a), s, None)


def by_the_numeric(a, n, s):
    return np.abs(a - n) / np.clip(np.abs(n), s, None)


def by_the_sum(a, n, s):
    return np.abs(n - a) / np.clip(np.abs(a) + np.abs(n), s, None)


def by_a_signed_size(a, n, s):
    return np.abs(a - n) / np.clip(np.where(a > n, a, n), s, None)


def by_the_largest(a, n, s):
    return np.abs(a - n) / max(np.abs(a).max(), np.abs(n).max(), s)


def by_the_smaller(a, n, s):
    return np.abs(a - n) / np.clip(np.where(np.abs(a) < np.abs(n), np.abs(a), np.abs(n)), s, None)


def the_worst(a, n, s):
    return (np.abs(a - n) / np.clip(np.maximum(np.abs(a), np.abs(n)), s, None)).max()


def in_percent(a, n, s):
    return 100 * np.abs(a - n) / np.clip(np.maximum(np.abs(a), np.abs(n)), s, None)


def errors_of(a, n, s):
    return np.abs(a - n) / np.clip(np.maximum(np.abs(a), np.abs(n)), s, None)


def lets_nan_pass(analytic, numeric, scale, bound):
    return [bool((errors_of(analytic[k], numeric[k], scale) > bound).any()) for k in analytic]


def lets_nan_pass_in_a_maximum(analytic, numeric, scale, bound):
    return [errors_of(analytic[k], numeric[k], scale).max() > bound for k in analytic]


def the_right_ones(analytic, numeric, scale, bound):
    return [np.max(errors_of(analytic[k], numeric[k], scale)) <= bound for k in analytic]


def only_if_all_are_wrong(analytic, numeric, scale, bound):
    return [not (errors_of(analytic[k], numeric[k], scale) <= bound).any() for k in analytic]


def by_the_mean(analytic, numeric, scale, bound):
    return [not errors_of(analytic[k], numeric[k], scale).mean() <= bound for k in analytic]


def by_absolute_error(analytic, numeric, scale, bound):
    return [not np.abs(analytic[k] - numeric[k]).max() <= bound for k in analytic]


def by_allclose(analytic, numeric, scale, bound):
    return [not np.allclose(analytic[k], numeric[k]) for k in analytic]


def without_scale(analytic, numeric, scale, bound):
    return [not (errors_of(analytic[k], numeric[k], 1e-300) <= bound).all() for k in analytic]


def signed(analytic, numeric, scale, bound):
    size = {k: np.clip(np.maximum(np.abs(analytic[k]), np.abs(numeric[k])), scale, None) for k in analytic}
    return [not ((analytic[k] - numeric[k]) / size[k] <= bound).all() for k in analytic]


def by_the_norms(analytic, numeric, scale, bound):
    norms = [(np.sqrt((analytic[k] ** 2).sum()), np.sqrt((numeric[k] ** 2).sum())) for k in analytic]
    return [not abs(a - n) / max(a, n, scale) <= bound for a, n in norms]


def by_one_number(analytic, numeric, scale, bound):
    return any(lets_nan_pass(analytic, numeric, scale, bound))


def by_name(analytic, numeric, scale, bound):
    return [k for k in analytic if not (errors_of(analytic[k], numeric[k], scale) <= bound).all()]


def difference_of_sizes(a, n, scale):
    return abs(abs(a) - abs(n)) / np.maximum(np.maximum(abs(a), abs(n)), scale)


def squared(a, n, scale):
    return (a - n) ** 2 / np.maximum(np.maximum(abs(a), abs(n)), scale)


WRONG = [
    ("numerical_gradient", forward, "a forward difference"),
    ("numerical_gradient", backward, "a backward difference"),
    ("numerical_gradient", without_the_two, "twice the slope"),
    ("numerical_gradient", forward_over_two_h, "half the slope"),
    ("numerical_gradient", precedence, "write / (2 * h)"),
    ("numerical_gradient", turned, "the sign is wrong"),
    ("numerical_gradient", undivided, "not yet a slope"),
    ("numerical_gradient", half_the_step, "max relative error"),
    ("numerical_gradient", all_at_once, "all of x was moved at once"),
    ("numerical_gradient", row_at_once, "a whole row was moved at once"),
    ("numerical_gradient", two_names_for_one_array, "is all zeros"),
    ("numerical_gradient", left_moved, "not put back"),
    ("numerical_gradient", argument_moved, "changes its argument x in place"),
    ("numerical_gradient", one_slope, "wrong shape"),
    ("relative_errors", absolute, "this is the absolute error"),
    ("relative_errors", keeps_the_sign, "kept its sign"),
    ("relative_errors", no_floor, "the floor is missing"),
    ("relative_errors", adds_the_floor, "scale was added"),
    ("relative_errors", by_the_analytic, "divided by |analytic| alone"),
    ("relative_errors", by_the_numeric, "divided by |numeric| alone"),
    ("relative_errors", by_the_sum, "divided by the sum"),
    ("relative_errors", by_a_signed_size, "missing their abs"),
    ("relative_errors", by_the_largest, "the largest of the whole array"),
    ("relative_errors", by_the_smaller, "the smaller of the two"),
    ("relative_errors", the_worst, "wrong shape"),
    ("relative_errors", in_percent, "factor of 100"),
    ("broken_parameters", lets_nan_pass, "nan > bound is False"),
    ("broken_parameters", lets_nan_pass_in_a_maximum, "nan > bound is False"),
    ("broken_parameters", the_right_ones, "turned round"),
    ("broken_parameters", only_if_all_are_wrong, "every element must be right"),
    ("broken_parameters", by_the_mean, "hide among many right ones"),
    ("broken_parameters", by_absolute_error, "take the relative error"),
    ("broken_parameters", by_allclose, "broken"),
    ("broken_parameters", without_scale, "without the floor"),
    ("broken_parameters", signed, "kept their sign"),
    ("broken_parameters", by_the_norms, "does not change a norm"),
    ("broken_parameters", by_one_number, "wrong shape"),
    ("broken_parameters", by_name, "expected numbers"),
    ("relative_errors", difference_of_sizes, "a wrong sign is no error at all"),
    ("relative_errors", squared, "the difference was squared"),
]
