"""The toy language: reproducible, unambiguous, and scored exactly."""

import itertools
import math
import random
from collections import Counter
from itertools import pairwise

import pytest

from minilstm.errors import UserError
from minilstm.text.corpus import load_corpus, toy_directory
from minilstm.text.grammar import main, oracle_perplexity, read_grammar, sample_rule

SMALL = """
# two tellers
variable who = anna ben
3 Sentence -> $who says Words[who]
1 Sentence -> End
1 Words[who] -> that $who says Words[who]
1 Words[who] -> End
1 Words[ben] -> nothing
1 End -> stop
"""


def grammar_of(tmp_path, text):
    (tmp_path / "grammar.txt").write_text(text)
    return read_grammar(tmp_path / "grammar.txt")


def test_the_committed_corpus_is_generated_again_byte_for_byte(tmp_path):
    toy = toy_directory()
    (tmp_path / "grammar.txt").write_bytes((toy / "grammar.txt").read_bytes())
    assert main([str(tmp_path)]) == 0
    for split in ("train", "valid", "test"):
        assert (tmp_path / f"{split}.txt").read_bytes() == (toy / f"{split}.txt").read_bytes()


def test_the_committed_corpus_has_hundreds_of_words_and_200k_tokens():
    corpus = load_corpus()
    assert 300 <= len(corpus.vocabulary) <= 600
    assert 200_000 <= len(corpus.splits["train"]) <= 200_100


def test_probabilities_of_a_small_grammar_match_those_computed_by_hand(tmp_path):
    grammar = grammar_of(tmp_path, SMALL)
    logs = grammar.log_probabilities(["anna", "says", "that", "anna", "says", "stop", "<eos>"])
    expected = [3 / 4 / 2, 1, 1 / 2, 1, 1, 1 / 2, 1]
    assert [math.exp(log) for log in logs] == pytest.approx(expected)
    logs = grammar.log_probabilities(["stop", "<eos>", "ben", "says", "nothing", "<eos>"])
    assert [math.exp(log) for log in logs] == pytest.approx([1 / 4, 1, 3 / 8, 1, 1 / 3, 1])


def test_next_word_probabilities_sum_to_one_and_match_advance(tmp_path):
    grammar = read_grammar(toy_directory() / "grammar.txt")
    words = grammar.sample(random.Random(5)) + ["<eos>"]
    state = grammar.start()
    for word in words:
        distribution = grammar.next_words(state)
        assert sum(distribution.values()) == pytest.approx(1)
        probability, state = grammar.advance(state, word)
        assert probability == pytest.approx(distribution[word])


def derivations(grammar, words):
    """Probability of every way to derive a sentence, by brute force over leftmost derivations."""
    found, agenda = [], [(1.0, 0, ("Sentence",))]
    while agenda:
        p, position, stack = agenda.pop()
        if not stack:
            if position == len(words):
                found.append(p)
        elif stack[0] in grammar.rules:
            agenda += [(p * q, position, right + stack[1:]) for q, right in grammar.rules[stack[0]]]
        elif position < len(words) and stack[0] == words[position]:
            agenda.append((p, position + 1, stack[1:]))
    return found


@pytest.mark.slow
def test_toy_sentences_have_one_derivation_whose_probability_is_the_score():
    grammar = read_grammar(toy_directory() / "grammar.txt")
    rng = random.Random(7)
    for words in itertools.islice(iter(lambda: grammar.sample(rng), None), 150):
        [probability] = derivations(grammar, words)
        assert math.fsum(grammar.log_probabilities([*words, "<eos>"])) == pytest.approx(math.log(probability))


def test_a_rule_is_sampled_by_the_interval_that_u_falls_in():
    rules = [(0.25, ("a",)), (0.5, ("b",)), (0.25, ("c",))]
    assert "".join(sample_rule(rules, u / 8)[0] for u in range(8)) == "aabbbbcc"
    assert sample_rule(rules, 1.0) == ("c",)  # even where rounding leaves a gap at the end


def test_an_impossible_word_has_probability_zero_and_an_empty_state(tmp_path):
    grammar = grammar_of(tmp_path, SMALL)
    _, state = grammar.advance(grammar.start(), "anna")
    assert grammar.advance(state, "stop") == (0.0, {})
    assert grammar.next_words({}) == {}


def test_frequencies_of_samples_match_their_probabilities(tmp_path):
    grammar = grammar_of(tmp_path, SMALL)
    rng = random.Random(0)
    samples = [" ".join(grammar.sample(rng)) for _ in range(20_000)]
    for sentence in ("stop", "anna says stop", "ben says nothing"):
        expected = math.exp(sum(grammar.log_probabilities([*sentence.split(), "<eos>"])))
        assert samples.count(sentence) / len(samples) == pytest.approx(expected, abs=0.015)


def test_the_toy_language_separates_good_models_from_bad():
    corpus = load_corpus()
    train, test = corpus.splits["train"].tolist(), corpus.splits["test"].tolist()
    one, two, three = Counter(train), Counter(pairwise(train)), Counter(zip(train, train[1:], train[2:], strict=False))

    def trigram(a, b, c):
        unigram = one[c] / len(train)
        bigram = two[b, c] / one[b]
        return 0.02 * unigram + 0.18 * bigram + 0.8 * (three[a, b, c] / two[a, b] if two[a, b] else bigram)

    words = list(zip(test, test[1:], test[2:], strict=False))
    perplexities = [
        math.exp(-sum(math.log(p(*abc)) for abc in words) / len(words))
        for p in (lambda a, b, c: one[c] / len(train), trigram)
    ]
    assert perplexities == pytest.approx([109.4, 5.87], rel=0.01)  # a trained LSTM reaches 3.4, the floor is 3.14


@pytest.mark.slow
def test_oracle_perplexity_is_below_that_of_ngrams_and_none_without_a_grammar(corpus_dir):
    assert 3 < oracle_perplexity(load_corpus()) < 4
    assert oracle_perplexity(load_corpus(corpus_dir)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 Sentence -> Missing\n", "Sentence needs Missing, which has no rule"),
        ("1 Sentence -> Sentence a\n1 Sentence -> b\n", "Sentence can begin with itself"),
        ("nonsense\n", "line 1"),
        ("1 Other -> a\n", "Sentence has no rule"),
    ],
)
def test_malformed_grammars_are_refused_with_the_reason(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        grammar_of(tmp_path, text)


def test_a_text_that_the_grammar_cannot_generate_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot generate 'anna says nothing'"):
        grammar_of(tmp_path, SMALL).log_probabilities(["anna", "says", "nothing", "<eos>"])
