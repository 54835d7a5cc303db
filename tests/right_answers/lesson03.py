"""Right answers to the exercises of lesson 3, written otherwise than the solution: (exercise, function)."""

import numpy as np


def one_copy_each(loss, x, h):
    g = np.empty_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            right, left = x.copy(), x.copy()
            right[i, j] += h
            left[i, j] -= h
            g[i, j] = (loss(right) - loss(left)) / (2 * h)
    return g


def as_a_flat_list(loss, x, h):
    slopes = []
    for n in range(x.size):
        e = np.zeros(x.size)
        e[n] = h
        e = e.reshape(x.shape)
        slopes.append((loss(x + e) - loss(x - e)) / h / 2)
    return np.reshape(slopes, x.shape)


def with_nditer(loss, x, h):
    x = np.array(x)
    grad = np.zeros_like(x, dtype=np.float32)
    it = np.nditer(x, flags=["multi_index"])
    for _ in it:
        k = it.multi_index
        old = float(x[k])
        x[k] = old + h
        f1 = loss(x)
        x[k] = old - h
        f2 = loss(x)
        x[k] = old
        grad[k] = 0.5 * (f1 - f2) / h
    return grad


def one_expression(a, n, scale):
    return np.abs(a - n) / np.maximum(np.maximum(np.abs(a), np.abs(n)), scale)


def by_the_largest_of_a_stack(a, n, scale):
    return abs(n - a) / np.max([abs(a), abs(n), np.full_like(a, scale)], axis=0)


def element_by_element(a, n, scale):
    pairs = [zip(*rows, strict=True) for rows in zip(a, n, strict=True)]
    return [[abs(p - q) / max(abs(p), abs(q), scale) for p, q in row] for row in pairs]


def errors_in_float32(a, n, scale):
    a, n = np.float32(a), np.float32(n)
    return abs(a - n) / np.maximum(np.maximum(abs(a), abs(n)), np.float32(scale))


def in_a_dict(analytic, numeric, scale, bound):
    return {k: not (one_expression(analytic[k], numeric[k], scale) <= bound).all() for k in analytic}


def in_the_view_of_a_dict(analytic, numeric, scale, bound):
    return in_a_dict(analytic, numeric, scale, bound).values()


def a_list_of_bools(analytic, numeric, scale, bound):
    result = []
    for a, n in zip(analytic.values(), numeric.values(), strict=True):
        worst = one_expression(a, n, scale).max()
        result.append(bool(np.isnan(worst) or worst > bound))
    return result


def zeros_and_ones(analytic, numeric, scale, bound):
    def is_broken(a, n):
        for p, q in zip(a.flat, n.flat, strict=True):
            if not abs(p - q) / max(abs(p), abs(q), scale) <= bound:
                return 1
        return 0

    return np.array([is_broken(analytic[name], numeric[name]) for name in analytic], dtype=np.int8)


RIGHT = [
    ("numerical_gradient", one_copy_each),
    ("numerical_gradient", as_a_flat_list),
    ("numerical_gradient", with_nditer),
    ("relative_errors", one_expression),
    ("relative_errors", by_the_largest_of_a_stack),
    ("relative_errors", element_by_element),
    ("relative_errors", errors_in_float32),
    ("broken_parameters", in_a_dict),
    ("broken_parameters", in_the_view_of_a_dict),
    ("broken_parameters", a_list_of_bools),
    ("broken_parameters", zeros_and_ones),
]
