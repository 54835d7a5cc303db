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


def probabilities(logits):
    e = np.exp(logits - logits.max(1)[:, None])
    return e / e.sum(1)[:, None]


def pushes_the_target_down(logits, targets):
    onehot = np.eye(logits.shape[1])[targets]
    return (probabilities(logits) + onehot) / len(targets)


def forgets_the_mean(logits, targets):
    return probabilities(logits) - np.eye(logits.shape[1])[targets]


def wrong_sign(logits, targets):
    return (np.eye(logits.shape[1])[targets] - probabilities(logits)) / len(targets)


def divides_by_the_vocabulary(logits, targets):
    return (probabilities(logits) - np.eye(logits.shape[1])[targets]) / logits.shape[1]


def of_the_target_alone(logits, targets):
    return (probabilities(logits) - np.eye(logits.shape[1])[targets])[np.arange(len(targets)), targets]


WRONG = [
    ("softmax", not_shifted, "exp overflows"),
    ("softmax", shifted_by_one_number, "take each row's own"),
    ("softmax", over_columns, "each column sums to 1"),
    ("cross_entropy_backward", pushes_the_target_down, "sign of the one-hot"),
    ("cross_entropy_backward", forgets_the_mean, "a sum where the mean is meant"),
    ("cross_entropy_backward", wrong_sign, "not onehot - p"),
    ("cross_entropy_backward", divides_by_the_vocabulary, "off by a factor"),
    ("cross_entropy_backward", of_the_target_alone, "wrong shape"),
]
