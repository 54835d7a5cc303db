"""Wrong answers to the exercises of lesson 10: (exercise, function, words the judge must say)."""

import math

import numpy as np


def asks_which_is_larger(gradient, max_norm):
    norm = (gradient**2).sum() ** 0.5
    if norm > max_norm:
        return gradient * (max_norm / norm), norm
    return gradient, norm


def python_number(gradient, max_norm):
    norm = math.sqrt((gradient**2).sum())
    return gradient * min(1, max_norm / norm), norm


def pythons_min(gradient, max_norm):
    norm = (gradient**2).sum() ** 0.5
    return gradient * min(1.0, max_norm / norm), norm


def meets_numpy(gradient, max_norm):
    norm = np.sqrt((gradient**2).sum())
    return gradient * np.full(gradient.shape, max_norm), norm


def always_scales(gradient, max_norm):
    norm = np.sqrt((gradient**2).sum())
    return gradient / norm * max_norm, norm


def upside_down(gradient, max_norm):
    norm = np.sqrt((gradient**2).sum())
    return gradient * np.maximum(norm, max_norm) / max_norm, norm


def no_root(gradient, max_norm):
    norm = (gradient**2).sum()
    return gradient * max_norm / np.maximum(norm, max_norm), norm


def norm_of_the_clipped(gradient, max_norm):
    norm = np.sqrt((gradient**2).sum())
    clipped = gradient * max_norm / np.maximum(norm, max_norm)
    return clipped, np.sqrt((clipped**2).sum())


def element_by_element(gradient, max_norm):
    return np.clip(gradient, -max_norm, max_norm), np.sqrt((gradient * gradient).sum())


def in_place(gradient, max_norm):
    norm = np.sqrt((gradient * gradient).sum())
    gradient *= max_norm / np.maximum(norm, max_norm)
    return gradient, norm


def cut_off(x, bits):
    whole = x.view(np.uint32) >> (23 - bits) << (23 - bits)
    return whole.view(np.float32)


def fixed_point(x, bits):
    return np.round(x * 2**bits) / 2**bits


def one_bit_short(x, bits):
    m, e = np.frexp(x)
    return np.round(m * 2.0**bits) / 2.0**bits * 2.0**e


def half_precision(x, bits):
    return np.float32(np.float16(x))


def forgets_the_exponent(x, bits):
    m, _ = np.frexp(x)
    return np.round(m * 2.0 ** (bits + 1)) / 2.0 ** (bits + 1)


def downwards(x, bits):
    m, e = np.frexp(x)
    return np.floor(m * 2.0 ** (bits + 1)) / 2.0 ** (bits + 1) * 2.0**e


def adds_bytes_and_operations(moved, operations, card):
    kernels = card["start"] + moved / card["bandwidth"] + operations / card["rate"]
    end = 0
    for n, kernel in enumerate(kernels, start=1):
        end = max(end, n * card["launch"]) + kernel
    return kernels, end, card["launch"] + kernels.sum()


def bytes_alone(moved, operations, card):
    kernels = card["start"] + moved / card["bandwidth"]
    end = 0
    for n, kernel in enumerate(kernels, start=1):
        end = max(end, n * card["launch"]) + kernel
    return kernels, end, card["launch"] + kernels.sum()


def right_kernels(moved, operations, card):
    return np.maximum(moved / card["bandwidth"], operations / card["rate"]) + card["start"]


def nothing_overlaps(moved, operations, card):
    kernels = right_kernels(moved, operations, card)
    return kernels, len(kernels) * card["launch"] + kernels.sum(), card["launch"] + kernels.sum()


def slower_side(moved, operations, card):
    kernels = right_kernels(moved, operations, card)
    ends = np.maximum(np.arange(1, len(kernels) + 1) * card["launch"], np.cumsum(kernels))
    return kernels, ends[-1], card["launch"] + kernels.sum()


def first_is_free(moved, operations, card):
    kernels = right_kernels(moved, operations, card)
    end = 0
    for n, kernel in enumerate(kernels):
        end = max(end, n * card["launch"]) + kernel
    return kernels, end, card["launch"] + kernels.sum()


def graph_launches_each(moved, operations, card):
    kernels = right_kernels(moved, operations, card)
    end = 0
    for n, kernel in enumerate(kernels, start=1):
        end = max(end, n * card["launch"]) + kernel
    return kernels, end, len(kernels) * card["launch"] + kernels.sum()


def graph_is_free(moved, operations, card):
    kernels = right_kernels(moved, operations, card)
    end = 0
    for n, kernel in enumerate(kernels, start=1):
        end = max(end, n * card["launch"]) + kernel
    return kernels, end, kernels.sum()


def decimal_places(x, bits):
    return np.round(x, bits)


def waits_for_one_launch(moved, operations, card):
    kernels = right_kernels(moved, operations, card)
    end = card["launch"]
    for kernel in kernels:
        end += kernel
    return kernels, end, end


WRONG = [
    ("clip_without_waiting", asks_which_is_larger, "would have to wait"),
    ("clip_without_waiting", python_number, "would have to wait"),
    ("clip_without_waiting", pythons_min, "would have to wait"),
    ("clip_without_waiting", meets_numpy, "a NumPy array meets an array on the GPU"),
    ("clip_without_waiting", always_scales, "is made longer"),
    ("clip_without_waiting", upside_down, "upside down"),
    ("clip_without_waiting", no_root, "the square of the norm"),
    ("clip_without_waiting", norm_of_the_clipped, "the norm after clipping"),
    ("clip_without_waiting", element_by_element, "clipped by itself"),
    ("clip_without_waiting", in_place, "changes its argument gradient in place"),
    ("round_mantissa", cut_off, "cut off, not rounded"),
    ("round_mantissa", fixed_point, "fixed point"),
    ("round_mantissa", one_bit_short, "one bit too few"),
    ("round_mantissa", half_precision, "float16 always has 10 bits"),
    ("round_mantissa", forgets_the_exponent, "the exponent got lost"),
    ("round_mantissa", downwards, "floor moves every number down"),
    ("step_times", adds_bytes_and_operations, "moving and computing were added"),
    ("step_times", bytes_alone, "the operations were left out"),
    ("step_times", nothing_overlaps, "launches and kernels were added up"),
    ("step_times", slower_side, "is only a bound"),
    ("step_times", first_is_free, "kernel 0 has to be launched too"),
    ("step_times", graph_launches_each, "a graph is launched once"),
    ("step_times", graph_is_free, "the graph itself has to be launched"),
    ("round_mantissa", decimal_places, "keeps decimal places"),
    ("step_times", waits_for_one_launch, "every kernel waits for one launch alone"),
]
