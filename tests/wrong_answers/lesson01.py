"""Wrong answers to the exercises of lesson 1: (exercise, function, words the judge must say)."""

import numpy as np


def likelihood_instead_of_surprise(p):
    return float(np.exp(sum(np.log(x) for x in p) / len(p)))


def stops_at_the_cross_entropy(p):
    return -sum(np.log(p)) / len(p)


def of_the_whole_text(p):
    total = 0
    for x in p:
        total -= np.log(x)
    return np.exp(total)


def geometric_mean_by_product(p):
    product = 1.0
    for x in p:
        product *= x
    return np.float64(product) ** (-1 / len(p))


def mean_probability_by_product(p):
    return np.multiply.reduce(p) ** (1 / p.size)


def averages_the_choices(p):
    return np.average(1 / p)


def bits_under_exp(p):
    return np.exp(np.average(-np.log2(p)))


def one_for_each_word(p):
    return np.exp(-np.log(p))


def deals_words_out(ids, B, T):
    n = len(ids) // B
    grid = np.reshape(ids[: n * B], (n, B))
    K = (n - 1) // T
    return grid[: K * T].reshape(K, T, B), grid[1 : K * T + 1].reshape(K, T, B)


def windows_before_streams(ids, B, T):
    K = (len(ids) // B - 1) // T
    x, y = ids[: K * B * T], ids[1 : K * B * T + 1]
    return x.reshape(K, B, T).swapaxes(1, 2), y.reshape(K, B, T).swapaxes(1, 2)


def target_is_input(ids, B, T):
    n = len(ids) // B
    K = (n - 1) // T
    x = ids[: n * B].reshape(B, n)[:, : K * T].reshape(B, K, T).transpose(1, 2, 0)
    return x, x


def stays_inside_the_window(ids, B, T):
    n = len(ids) // B
    K = (n - 1) // T
    x = ids[: n * B].reshape(B, n)[:, : K * T].reshape(B, K, T).transpose(1, 2, 0)
    y = x.copy()
    y[:, :-1] = x[:, 1:]
    y[:, -1] = x[:, 0]
    return x, y


def slides_by_one(ids, B, T):
    n = len(ids) // B
    d = ids[: n * B].reshape(B, n).T
    K = (n - 1) // T
    return np.array([d[k : k + T] for k in range(K)]), np.array([d[k + 1 : k + 1 + T] for k in range(K)])


def batch_first(ids, B, T):
    n = len(ids) // B
    d = ids[: n * B].reshape(B, n)
    K = (n - 1) // T
    return d[:, : K * T].reshape(B, K, T).swapaxes(0, 1), d[:, 1 : K * T + 1].reshape(B, K, T).swapaxes(0, 1)


def one_window_too_few(ids, B, T):
    n = len(ids) // B
    d = ids[: n * B].reshape(B, n).T
    starts = range(0, n - 1 - 2 * T + 1, T)
    return np.array([d[s : s + T] for s in starts]), np.array([d[s + 1 : s + T + 1] for s in starts])


def tally(words, n):
    counts = {}
    for k in range(len(words) - n + 1):
        key = tuple(words[k : k + n])
        counts[key] = counts.get(key, 0) + 1
    return counts


def mixture(train, text, weights, unigram, bigram, trigram):
    n1, n2, n3 = tally(train, 1), tally(train, 2), tally(train, 3)
    out = []
    for k in range(2, len(text)):
        a, b, c = text[k - 2], text[k - 1], text[k]
        p1, p2 = unigram(n1, c, len(train)), bigram(n1, n2, a, b, c)
        out.append(weights[0] * p1 + weights[1] * p2 + weights[2] * trigram(n1, n2, n3, a, b, c, p1, p2))
    return np.array(out)


def share(n1, c, N):
    return n1.get((c,), 0) / N


def after_one(n1, n2, a, b, c):
    return n2.get((b, c), 0) / n1[b,]


def after_two(n1, n2, n3, a, b, c, p1, p2):
    return n3.get((a, b, c), 0) / n2[a, b] if (a, b) in n2 else p2


def no_fallback(train, text, weights):
    def forgets(n1, n2, n3, a, b, c, p1, p2):
        return n3.get((a, b, c), 0) / n2.get((a, b), 1)

    return mixture(train, text, weights, share, after_one, forgets)


def looks_at_the_answers(train, text, weights):
    return mixture(text, text, weights, share, lambda n1, n2, a, b, c: n2[b, c] / n1[b,], after_two)


def weights_backwards(train, text, weights):
    return mixture(train, text, weights[::-1], share, after_one, after_two)


def conditions_on_what_follows(train, text, weights):
    return mixture(train, text, weights, share, lambda n1, n2, a, b, c: n2.get((b, c), 0) / n1[c,], after_two)


def triple_over_word(train, text, weights):
    def over_word(n1, n2, n3, a, b, c, p1, p2):
        return n3.get((a, b, c), 0) / n1[b,] if (a, b) in n2 else p2

    return mixture(train, text, weights, share, after_one, over_word)


def divides_by_the_vocabulary(train, text, weights):
    return mixture(train, text, weights, lambda n1, c, N: n1[c,] / len(n1), after_one, after_two)


def as_logarithms(train, text, weights):
    return np.log(mixture(train, text, weights, share, after_one, after_two))


def from_the_first_word(train, text, weights):
    p = mixture(train, text, weights, share, after_one, after_two)
    return np.concatenate([[1, 1], p])


def adds_one_to_every_count(train, text, weights):
    return mixture(train, text, weights, lambda n1, c, N: (n1[c,] + 1) / (N + len(n1)), after_one, after_two)


def one_step_too_short(ids, B, T):
    n = len(ids) // B
    d = ids[: n * B].reshape(B, n).T
    K = (n - 1) // T
    return [d[k * T : k * T + T - 1] for k in range(K)], [d[k * T + 1 : k * T + T] for k in range(K)]


WRONG = [
    ("perplexity_of", likelihood_instead_of_surprise, "a perplexity is never below 1"),
    ("perplexity_of", stops_at_the_cross_entropy, "exp of it is missing"),
    ("perplexity_of", of_the_whole_text, "a sum where the mean is meant"),
    ("perplexity_of", geometric_mean_by_product, "underflows to 0"),
    ("perplexity_of", mean_probability_by_product, "the inverse of a perplexity"),
    ("perplexity_of", averages_the_choices, "the mean was taken of 1 / p"),
    ("perplexity_of", bits_under_exp, "the two bases must be the same"),
    ("perplexity_of", one_for_each_word, "expected one number"),
    ("cut_into_windows", deals_words_out, "dealt out to different streams"),
    ("cut_into_windows", windows_before_streams, "cut it into B streams first"),
    ("cut_into_windows", target_is_input, "targets: the targets are the inputs themselves"),
    ("cut_into_windows", stays_inside_the_window, "it is the first word of the next window"),
    ("cut_into_windows", slides_by_one, "the windows overlap"),
    ("cut_into_windows", batch_first, "in another arrangement"),
    ("cut_into_windows", one_window_too_few, "wrong shape"),
    ("interpolated_trigram", no_fallback, "the trigram's share is lost"),
    ("interpolated_trigram", looks_at_the_answers, "the model has seen the answers"),
    ("interpolated_trigram", weights_backwards, "reverse order"),
    ("interpolated_trigram", conditions_on_what_follows, "P(b | c)"),
    ("interpolated_trigram", triple_over_word, "divide by the count of the pair (a, b)"),
    ("interpolated_trigram", divides_by_the_vocabulary, "len(train)"),
    ("interpolated_trigram", as_logarithms, "return the probabilities themselves"),
    ("interpolated_trigram", from_the_first_word, "wrong shape"),
    ("interpolated_trigram", adds_one_to_every_count, "Laplace's rule"),
    ("cut_into_windows", one_step_too_short, "one too few along axis 1"),
]
