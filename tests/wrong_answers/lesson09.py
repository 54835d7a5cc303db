"""Wrong answers to the exercises of lesson 9: (exercise, function, words the judge must say)."""

import numpy as np


def probabilities(x):
    e = np.exp(x - np.max(x, 1)[:, None])
    return e / np.sum(e, 1)[:, None]


def in_nats(logits, ids):
    return np.array([-np.log(probabilities(logits)[t, ids[t + 1]]) for t in range(len(ids) - 1)])


def log_probability(logits, ids):
    return np.array([np.log2(probabilities(logits)[t, ids[t + 1]]) for t in range(len(ids) - 1)])


def of_its_own_row(logits, ids):
    return np.array([-np.log2(probabilities(logits)[t, ids[t]]) for t in range(1, len(ids))])


def of_the_word_just_read(logits, ids):
    return np.array([-np.log2(probabilities(logits)[t, ids[t]]) for t in range(len(ids) - 1)])


def of_every_word(logits, ids):
    return -np.log2(probabilities(logits)[np.arange(len(ids)), ids])


def over_the_sentence(logits, ids):
    p = np.exp(logits[:-1]) / np.exp(logits[:-1]).sum(0)
    return -np.log2(p[range(len(p)), ids[1:]])


def unnormalised(logits, ids):
    return np.array([-logits[t, ids[t + 1]] / np.log(2) for t in range(len(ids) - 1)])


def entropy(logits, ids):
    p = probabilities(logits)[:-1]
    return -np.sum(p * np.log2(p), -1)


def mean_surprise(logits, ids):
    return -np.mean(np.log2([probabilities(logits)[t, ids[t + 1]] for t in range(len(ids) - 1)]))


def raw_labels(cells, labels, new_cells):
    A = np.hstack((cells, np.ones((cells.shape[0], 1))))
    w = np.linalg.pinv(A) @ labels
    return w[:-1], w[-1], (new_cells @ w[:-1] + w[-1] > 0).astype(int)


def raw_labels_with_their_threshold(cells, labels, new_cells):
    A = np.hstack((cells, np.ones((cells.shape[0], 1))))
    w = np.linalg.pinv(A) @ labels
    return w[:-1], w[-1], (new_cells @ w[:-1] + w[-1] > 0.5).astype(int)


def through_the_origin(cells, labels, new_cells):
    w = np.linalg.lstsq(cells, 2 * labels - 1, rcond=None)[0]
    return w, 0, np.where(new_cells @ w > 0, 1, 0)


def bias_first(cells, labels, new_cells):
    A = np.c_[np.ones(len(cells)), cells]
    w = np.linalg.lstsq(A, 2 * labels - 1, rcond=None)[0]
    return w[:-1], w[-1], np.where(new_cells @ w[:-1] + w[-1] > 0, 1, 0)


def not_solved(cells, labels, new_cells):
    y = np.where(labels, 1, -1)
    w, b = (cells * y[:, None]).sum(0), y.sum()
    return w, b, (new_cells @ w + b > 0) * 1


def threshold_of_a_half(cells, labels, new_cells):
    A = np.c_[cells, np.ones(len(cells))]
    w = np.linalg.lstsq(A, 2 * labels - 1, rcond=None)[0]
    return w[:-1], w[-1], (new_cells @ w[:-1] + w[-1] > 0.5) * 1


def forgets_the_bias_later(cells, labels, new_cells):
    A = np.c_[cells, np.ones(len(cells))]
    w = np.linalg.lstsq(A, 2 * labels - 1, rcond=None)[0]
    return w[:-1], w[-1], (new_cells @ w[:-1] > 0) * 1


def signs(cells, labels, new_cells):
    A = np.c_[cells, np.ones(len(cells))]
    w = np.linalg.lstsq(A, 2 * labels - 1, rcond=None)[0]
    return w[:-1], w[-1], np.sign(new_cells @ w[:-1] + w[-1])


def guesses_for_the_old_cells(cells, labels, new_cells):
    A = np.c_[cells, np.ones(len(cells))]
    w = np.linalg.lstsq(A, 2 * labels - 1, rcond=None)[0]
    return w[:-1], w[-1], A @ w > 0


def search(p, dice):
    return np.array([np.searchsorted(np.cumsum(row), u, side="right") for row, u in zip(p, dice, strict=True)])


def times_temperature(logits, temperature, dice):
    p = probabilities(logits * temperature)
    return p, search(p, dice)


def divides_the_probabilities(logits, temperature, dice):
    p = probabilities(logits) / temperature
    p = p / p.sum(1)[:, None]
    return p, search(p, dice)


def overflows(logits, temperature, dice):
    e = np.exp(logits / temperature)
    p = e / np.sum(e, -1, keepdims=True)
    return p, (np.cumsum(p, -1) <= dice.reshape(-1, 1)).sum(-1)


def greedy(logits, temperature, dice):
    p = probabilities(logits / temperature)
    return p, np.argmax(p, 1)


def one_too_far(logits, temperature, dice):
    p = probabilities(logits / temperature)
    return p, search(p, dice) + 1


def without_adding_up(logits, temperature, dice):
    p = probabilities(logits / temperature)
    return p, (p <= dice[:, np.newaxis]).sum(1)


def one_throw(logits, temperature, dice):
    p = probabilities(logits / temperature)
    return p, search(p, np.full(len(dice), dice[0]))


def only_the_ids(logits, temperature, dice):
    return search(probabilities(logits / temperature), dice)


def not_normalised_again(logits, temperature, dice):
    p = probabilities(logits) ** (1 / temperature)
    return p, (np.cumsum(p, 1) <= dice[:, None]).sum(1)


def shifted_by_the_least(logits, temperature, dice):
    e = np.exp((logits - logits.min(1)[:, None]) / temperature)
    p = e / e.sum(1)[:, None]
    return p, search(p, dice)


WRONG = [
    ("surprise_in_bits", in_nats, "these are nats"),
    ("surprise_in_bits", log_probability, "the sign is wrong"),
    ("surprise_in_bits", of_its_own_row, "written after it was read"),
    ("surprise_in_bits", of_the_word_just_read, "the word that has just been read"),
    ("surprise_in_bits", of_every_word, "wrong shape"),
    ("surprise_in_bits", over_the_sentence, "each column sums to 1"),
    ("surprise_in_bits", unnormalised, "missing its denominator"),
    ("surprise_in_bits", entropy, "this is the entropy"),
    ("surprise_in_bits", mean_surprise, "wrong shape"),
    ("least_squares_probe", raw_labels, "the targets must be -1 and +1"),
    ("least_squares_probe", raw_labels_with_their_threshold, "the targets must be -1 and +1"),
    ("least_squares_probe", through_the_origin, "there is no bias"),
    ("least_squares_probe", bias_first, "the column of ones stands first"),
    ("least_squares_probe", not_solved, "only the right side of the normal equations"),
    ("least_squares_probe", threshold_of_a_half, "at 0, not 0.5"),
    ("least_squares_probe", forgets_the_bias_later, "missing where the new cells are judged"),
    ("least_squares_probe", signs, "asked are labels"),
    ("least_squares_probe", guesses_for_the_old_cells, "wrong shape"),
    ("sample_with_temperature", times_temperature, "so divide"),
    ("sample_with_temperature", divides_the_probabilities, "the temperature has no effect"),
    ("sample_with_temperature", overflows, "exp overflows"),
    ("sample_with_temperature", greedy, "that is temperature 0"),
    ("sample_with_temperature", one_too_far, "one too far"),
    ("sample_with_temperature", without_adding_up, "add p up along the row first"),
    ("sample_with_temperature", one_throw, "one throw for all rows"),
    ("sample_with_temperature", only_the_ids, "expected 2: p, ids"),
    ("sample_with_temperature", not_normalised_again, "does not sum to 1 any more"),
    ("sample_with_temperature", shifted_by_the_least, "min stands where max belongs, in your line"),
]
