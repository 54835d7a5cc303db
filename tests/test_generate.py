"""Sampling: which words can be drawn, how often, and what a prompt is read as."""

from collections import Counter

import numpy as np
import pytest
import strict_array
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm import Config, UserError, init_params
from minilstm.cli import main, parse
from minilstm.generate import encode_prompt, generate, sample

CONFIG = Config(hidden_size=8, init_scale=1.0)
VOCABULARY = ["<unk>", "<eos>", *"abcdefgh"]
TINY = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def params():
    params = init_params(CONFIG, len(VOCABULARY))
    params["decoder.bias"][0] = 1.0  # <unk> is often the likeliest word
    return params


@pytest.fixture(scope="module")
def run(shared_corpus_dir, tmp_path_factory):
    """A run whose vocabulary has <unk>."""
    run = tmp_path_factory.mktemp("generate") / "run"
    assert main(["train", "--data", str(shared_corpus_dir), "--out", str(run), "--min-count", "2", *TINY]) == 0
    return run


@pytest.fixture
def printed(run, capsys):
    """``printed(flags...)`` is what `minilstm generate` writes to standard output and standard error."""

    def command(*flags):
        capsys.readouterr()
        assert main(["generate", str(run), "--words", "30", *flags]) == 0
        return capsys.readouterr()

    return command


def draws(p, number=2000, **options):
    """How often each id is drawn from the probabilities p."""
    rng = np.random.default_rng(0)
    return Counter(sample(np.log(p), 1.0, rng, **options) for _ in range(number))


@pytest.mark.parametrize(
    ("temperature", "ids"),
    [
        (0.7, [9, 6, 2, 1, 10, 10, 8, 9, 8, 10, 10, 0, 10, 2, 9, 5, 10, 8, 6, 7]),
        (1.3, [8, 5, 1, 0, 9, 10, 8, 9, 7, 10, 9, 0, 10, 1, 9, 3, 10, 7, 5, 6]),
    ],
)
@pytest.mark.parametrize("options", [{}, {"top_k": 11, "top_p": 1.0}, {"top_k": 10**30}])
def test_a_seed_gives_the_words_that_it_always_gave(temperature, ids, options):
    rng, logits = np.random.default_rng(0), np.log(np.arange(1, 12)).astype(np.float32)
    assert [sample(logits, temperature, rng, **options) for _ in range(20)] == ids


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_k": 1}, {3}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 4}, {0, 1, 2, 3}),
        ({"top_k": 5}, {0, 1, 2, 3}),
        ({"top_p": 1e-300}, {3}),
        ({"top_p": 0.39}, {3}),
        ({"top_p": 0.41}, {1, 3}),
        ({"top_p": 0.69}, {1, 3}),
        ({"top_p": 0.71}, {1, 2, 3}),
        ({"top_p": 0.91}, {0, 1, 2, 3}),
        ({"top_k": 2, "top_p": 0.5}, {3}),  # of the two that are left, 3 has a probability of 4/7
        ({"top_k": 2, "top_p": 0.6}, {1, 3}),
        ({"excluded": [3]}, {0, 1, 2}),
        ({"excluded": [3], "top_k": 1}, {1}),
        ({"excluded": [3], "top_p": 0.49}, {1}),  # 1 has half of the rest
    ],
)
def test_only_the_likeliest_words_are_drawn_in_proportion_to_their_probabilities(options, expected):
    p = np.array([0.1, 0.3, 0.2, 0.4])
    counts = draws(p, **options)
    assert set(counts) == expected
    total = sum(p[id] for id in expected)
    for id in expected:
        assert counts[id] / 2000 == pytest.approx(p[id] / total, abs=0.05)


@pytest.mark.parametrize(("top_k", "expected"), [(1, {1}), (2, {1, 2}), (3, {1, 2, 4})])
def test_of_equally_likely_words_the_first_are_kept_as_greedy_sampling_takes_them(top_k, expected):
    p = np.array([0.05, 0.3, 0.3, 0.05, 0.3])
    assert set(draws(p, 200, top_k=top_k)) == expected
    assert set(draws(p, 200, top_p=0.3 * top_k - 0.01)) == expected
    assert sample(np.log(p), 0, np.random.default_rng(0)) == 1
    assert set(draws(np.ones(4), 200, top_p=0.5)) == {0, 1}  # whose probabilities sum to exactly 0.5


@settings(deadline=None)
@given(
    st.lists(st.integers(-2, 2), min_size=1, max_size=8),
    st.integers(1, 10),
    st.floats(0.001, 1.0),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_the_words_kept_are_those_of_the_definition(logits, top_k, top_p, temperature):
    """The nucleus by its definition: word after word, the likeliest first, until their probabilities sum to top_p."""
    scores = np.array(logits, dtype=float)
    p = np.exp((scores - scores.max()) / temperature)
    ranked = sorted(range(len(p)), key=lambda id: (-p[id], id))[:top_k]
    kept, total, mass = [], sum(p[id] for id in ranked), 0.0
    for id in ranked:
        if mass >= top_p * total:
            break
        kept.append(id)
        mass += p[id]

    class EndsOfTheInterval:
        """A generator whose numbers are as low and as high as those of `random` get."""

        def __init__(self):
            self.numbers = [0.0, np.nextafter(1.0, 0.0)]

        def random(self):
            return self.numbers.pop()

    rng = EndsOfTheInterval()
    ends = {sample(scores, temperature, rng, top_k, top_p) for _ in range(2)}
    assert ends == {min(kept), max(kept)}
    drawn = {sample(scores, temperature, np.random.default_rng(seed), top_k, top_p) for seed in range(20)}
    assert drawn <= set(kept)


def test_top_k_of_1_and_a_tiny_top_p_are_greedy(params):
    def text(**options):
        return list(generate(params, CONFIG, VOCABULARY, num_words=50, **options))

    greedy = text(temperature=0.0)
    assert greedy == text(top_k=1) == text(top_p=1e-9) == text(temperature=1e-300) == text(temperature=0, top_k=3)
    assert greedy != text()
    assert text(temperature=1e300, top_k=1, seed=7) == greedy  # where all probabilities are equal, too


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.01}, {"temperature": 50.0}])
def test_without_unk_it_is_never_drawn(params, options):
    def text(**more):
        return list(generate(params, CONFIG, VOCABULARY, num_words=300, **options, **more))

    assert "<unk>" in text()
    assert "<unk>" not in text(no_unk=True)
    assert len(text(no_unk=True)) == 300


def test_no_unk_changes_nothing_where_the_vocabulary_has_none(params):
    words = ["<oov>", *VOCABULARY[1:]]
    one, other = (list(generate(params, CONFIG, words, num_words=50, no_unk=no_unk)) for no_unk in (False, True))
    assert one == other


def test_on_another_device_the_same_words_are_drawn():
    options = {"num_words": 50, "top_k": 7, "top_p": 0.9, "no_unk": True}
    one, other = (
        list(generate(init_params(CONFIG, len(VOCABULARY), xp), CONFIG, VOCABULARY, [2, 3], **options))
        for xp in (np, strict_array)
    )
    assert one == other


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top_k": 0}, "top_k must be a whole number of at least 1, not 0"),
        ({"top_k": 2.5}, "top_k must be a whole number of at least 1, not 2.5"),
        ({"top_p": 0.0}, "top_p must be greater than 0 and at most 1, not 0.0"),
        ({"top_p": 1.1}, "top_p must be greater than 0 and at most 1, not 1.1"),
        ({"top_p": float("nan")}, "top_p must be greater than 0 and at most 1, not nan"),
    ],
)
def test_impossible_settings_are_refused_before_the_first_word(params, options, says):
    with pytest.raises(UserError) as error:
        generate(params, CONFIG, VOCABULARY, **options)
    assert str(error.value) == says


def test_a_vocabulary_of_unk_alone_without_unk_is_refused():
    with pytest.raises(UserError, match="no word but <unk>"):
        generate(init_params(CONFIG, 1), CONFIG, ["<unk>"], no_unk=True)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--top-k", "0"], "argument --top-k: '0' is not a whole number of at least 1"),
        (["--top-k", "2.5"], "argument --top-k: '2.5' is not a whole number of at least 1"),
        (["--top-p", "0"], "argument --top-p: '0' is not a number greater than 0 and at most 1"),
        (["--top-p", "90"], "argument --top-p: '90' is not a number greater than 0 and at most 1"),
        (["--top-p", "nan"], "argument --top-p: 'nan' is not a number greater than 0 and at most 1"),
        (["--top-p", "x"], "argument --top-p: 'x' is not a number greater than 0 and at most 1"),
        (["--samples", "0"], "argument --samples: '0' is not a whole number of at least 1"),
    ],
)
def test_impossible_flags_are_one_line(capsys, flags, says):
    with pytest.raises(SystemExit) as stop:
        parse(["generate", "run", *flags])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("", []),
        ("a b", [2, 3]),
        ("a\nb", [2, 1, 3]),
        ("a\r\nb\rc\n", [2, 1, 3, 1, 4, 1]),
        ("\n\na", [1, 1, 2]),
        ("a <eos> b", [2, 1, 3]),
        ("a <unk>\tb", [2, 0, 3]),
    ],
)
def test_a_prompt_is_read_as_a_text_file_is(prompt, ids):
    assert encode_prompt(prompt, VOCABULARY) == (ids, [])


@pytest.mark.parametrize(
    ("prompt", "ids"), [("", []), ("ab\n\nb", [2, 3, 1, 1, 3]), ("a b", [2, 0, 3]), ("a\r\nb\r", [2, 1, 3, 1])]
)
def test_a_prompt_is_read_by_characters_where_the_text_was(prompt, ids):
    assert encode_prompt(prompt, VOCABULARY, "char") == (ids, [" "] if 0 in ids else [])


def test_unknown_words_of_a_prompt_are_named_with_their_control_characters_escaped():
    assert encode_prompt("a z\x1b[2J <eos> z\x1b[2J y", VOCABULARY) == ([2, 0, 1, 0, 0], ["z\x1b[2J", "y"])
    with pytest.raises(UserError) as error:
        encode_prompt("a z\x1b[2J\n", ["a"])
    assert str(error.value).startswith(r"the model does not know 'z\x1b[2J', '<eos>' and has no <unk>; ")


def test_the_newlines_of_a_prompt_are_printed_and_read(printed):
    assert printed("--prompt", "a b\nc", "--words", "1").out.startswith("a b\nc")
    typed = printed("--prompt", "a b <eos> c").out
    assert typed == printed("--prompt", "a b\nc").out
    assert printed("--prompt", "a\n", "--words", "1", "--no-unk").out[:2] == "a\n"
    assert printed("--prompt", "a\n", "--words", "1").out[2] != " "  # at the start of a line


def test_control_characters_of_a_prompt_are_escaped_wherever_it_is_printed(printed):
    captured = printed("--prompt", "a \x1b[31mred \x9b2J \udcff")
    assert captured.out.startswith(r"a \x1b[31mred \x9b2J \xff ")
    assert captured.err == r"minilstm: the model reads '\x1b[31mred', '\x9b2J', '\xff' as <unk>" + "\n"


def test_characters_are_printed_without_spaces_between(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("ab ba\n" * 200)
    run = str(tmp_path / "run")
    flags = ["--data", str(tmp_path / "text.txt"), "--unit", "char", "--learning-rate", "3", "--max-max-epoch", "3"]
    assert main(["train", *TINY, *flags, "--hidden-size", "16", "--out", run]) == 0
    capsys.readouterr()
    assert main(["generate", run, "--prompt", "ab ba\nab", "--temperature", "0", "--words", "10"]) == 0
    assert capsys.readouterr().out == "ab ba\nab ba\nab ba\n\n"


def test_each_sample_is_the_text_of_its_own_seed(printed):
    flags = ["--top-p", "0.9", "--no-unk", "--prompt", "a\nb"]
    alone = [printed(*flags, "--seed", str(seed)).out for seed in (3, 4, 5)]
    assert len(set(alone)) == 3
    for number in (2, 3):
        texts = [f"--- sample {n + 1}, --seed {3 + n} ---\n{alone[n]}" for n in range(number)]
        assert printed(*flags, "--seed", "3", "--samples", str(number)).out == "".join(texts)
    assert printed(*flags, "--seed", "3", "--samples", "1").out == alone[0]


def test_unknown_words_of_the_prompt_are_named_once_for_all_samples(printed):
    assert printed("--prompt", "zebra", "--samples", "3").err == "minilstm: the model reads 'zebra' as <unk>\n"
