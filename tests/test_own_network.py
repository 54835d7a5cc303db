"""The network of a student's own functions: found in saved notebooks, judged, tried, and replaced where they fail."""

import shutil
import signal
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from minilstm_lessons import EXERCISES
from minilstm_lessons.lesson08 import package_epoch
from minilstm_lessons.own_functions import Part, choose, find, judge_within, load, own_or_ours, read_definitions
from minilstm_lessons.own_network import (
    FLOAT32_ERROR,
    FLOAT32_STEP,
    PARTS,
    SOLUTIONS,
    STEP,
    TRIAL,
    TRIAL_DATA,
    assemble,
    collect,
    count_of_yours,
    describe,
    errors_at,
    gradient_errors,
    network_of,
    parts_in_float32,
    trial_losses,
    try_out,
)
from minilstm_lessons.own_pictures import draw_network, first_impossible, sentences_of
from right_answers import lesson02, lesson03, lesson05, lesson06, lesson07, lesson08

from minilstm.model import init_params, loss_and_gradients, zero_state
from minilstm.text.corpus import load_corpus
from minilstm.text.grammar import read_grammar

LESSONS = Path(__file__).parents[1] / "lessons"
NOTHING_PASTED = {"__name__": "__main__"}
HEADER = {
    2: "import numpy as np",
    7: "import numpy as np\nfrom minilstm.layers.lstm import lstm_backward, lstm_forward",
}
HEADER[8] = (
    "import numpy as np\nfrom minilstm.evaluate import perplexity\nfrom minilstm.model import loss_and_gradients, "
    "zero_state\nfrom minilstm.optim import clip_by_global_norm, sgd\nfrom minilstm.text.batches import get_batch, "
    "num_windows"
)


def text_of(lesson):
    """The text of a lesson's solutions, without its imports and docstring."""
    text = (LESSONS / f"minilstm_lessons/solutions/lesson{lesson:02}.py").read_text(encoding="utf-8")
    return "\n" + text[text.index("\ndef ") :]


def save(folder, lesson, *cells, name=None):
    """A notebook of a lesson, as a student saves it: magics, a cell that must not be run, then these cells."""
    first = [
        "%matplotlib inline\n!echo never",
        "raise RuntimeError('this cell was run')",
        HEADER.get(lesson, HEADER[2]),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (*first, *cells)])
    nbformat.write(notebook, folder / (name or f"{lesson:02}_lesson.ipynb"))


def save_all(folder, **changes):
    """All right; `changes` are old -> new text of a lesson, as lesson=(old, new)."""
    for lesson in set(PARTS.values()):
        text = text_of(lesson)
        for old, new in changes.get(f"lesson{lesson}", ()):
            assert old in text
            text = text.replace(old, new)
        save(folder, lesson, text)


def by_name(parts):
    return {part.name: part for part in parts}


def test_of_the_notebooks_as_shipped_nothing_is_the_students():
    parts = collect(NOTHING_PASTED, LESSONS)
    assert [part.words for part in parts] == ["not written"] * len(PARTS)
    assert count_of_yours(parts) == "0 of 10 parts are yours"
    assert describe(parts).count("ours stands in") == 10


def test_a_student_with_everything_right(tmp_path):
    save_all(tmp_path)
    parts = collect(NOTHING_PASTED, tmp_path)
    assert count_of_yours(parts) == "10 of 10 parts are yours", describe(parts)
    assert all(part.function.__code__ is not SOLUTIONS[part.name].__code__ for part in parts)
    assert max(gradient_errors(network_of(parts)).values()) < 1e-7
    draw_network(parts, "Anna")


def test_a_student_with_two_wrong_ones(tmp_path):
    doubled = ("keepdims=True)  # (N, 1)\n    return", "keepdims=True) * 2\n    return")
    save_all(tmp_path, lesson6=[("dz.sum(axis=0)", "dz.mean(axis=0)")], lesson2=[doubled])
    parts = by_name(collect(NOTHING_PASTED, tmp_path))
    assert {name for name, part in parts.items() if not part.is_yours} == {"softmax", "lstm_step_backward"}
    assert "mean" in parts["lstm_step_backward"].words
    assert parts["softmax_layer_backward"].is_yours  # it calls softmax, and gets ours


def test_a_student_whose_functions_raise_or_do_not_parse_or_are_not_there(tmp_path):
    raises = "    H = h_prev.shape[1]", "    H = h_prev.shape[2]"
    save_all(tmp_path, lesson6=[raises], lesson8=[("epochs = np.arange", "epochs = = np.arange")])
    (tmp_path / "05_lesson.ipynb").unlink()
    (tmp_path / "03_lesson.ipynb").write_text("{", encoding="utf-8")
    parts = by_name(collect(NOTHING_PASTED, tmp_path))
    assert "stopped with IndexError in your line" in parts["lstm_step_forward"].words
    assert "a syntax error in line" in parts["learning_rate_schedule"].words
    assert parts["clip_by_global_norm"].words == "its notebook is not in this folder"
    assert parts["numerical_gradient"].words == "not written"
    assert not np.isnan(trial_losses(network_of(parts.values()))).any()


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])  # a shell's & ignores Ctrl-C
def test_a_helper_that_never_ends_is_stopped(handler):
    def softmax(logits):
        while True:
            pass

    started, before = time.monotonic(), signal.signal(signal.SIGINT, handler)
    try:
        status, text = judge_within(softmax, seconds=0.5)
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert status == "stopped"
    assert "does one of its loops never end?" in text
    assert time.monotonic() - started < 60


def test_a_pasted_function_comes_first_and_needs_no_imports(tmp_path):
    save(tmp_path, 8, "def train_one_epoch(params, config, data, learning_rate):\n    ...")
    pasted = dict(NOTHING_PASTED)
    exec(text_of(8), pasted)  # without the imports of its notebook
    pasted["In"] = ["", "from minilstm.model import zero_state", text_of(8)]
    found = find("train_one_epoch", 8, pasted, tmp_path)
    assert found.where == "pasted here"
    assert choose("train_one_epoch", 8, found, {}).is_yours


def test_of_two_copies_the_one_saved_last_counts(tmp_path):
    save(tmp_path, 2, "def softmax(logits):\n    return 'old'", name="02_lesson.ipynb")
    time.sleep(0.02)
    save(tmp_path, 2, "def softmax(logits):\n    return 'new'", name="Copy of 02_lesson.ipynb")
    assert find("softmax", 2, NOTHING_PASTED, tmp_path).function(None) == "new"


def test_only_what_a_function_needs_is_executed(tmp_path):
    constants = "LIMIT = 3\nother = print('run')\nscale = lambda x: LIMIT * x"
    save(tmp_path, 2, constants, "def softmax(x):\n    return scale(x)", "def unused(x=print('run')):\n    pass")
    definitions, broken = read_definitions(tmp_path / "02_lesson.ipynb")
    assert not broken
    assert "other" not in definitions
    assert load("softmax", definitions)(2) == 6


def test_a_local_name_that_is_a_global_one_too_brings_nothing_in(tmp_path):
    save(
        tmp_path,
        2,
        "weight = bias = other[0]\nother = weight.T",
        "def softmax(weight):\n    bias = 1\n    return weight + bias",
    )
    assert load("softmax", read_definitions(tmp_path / "02_lesson.ipynb")[0])(2) == 3


def test_a_constant_that_cannot_be_read_is_left_out(tmp_path):
    save(tmp_path, 2, "K = len([1])", "M = K + 1", "def softmax(x):\n    return M * x")
    function = load("softmax", read_definitions(tmp_path / "02_lesson.ipynb")[0])
    with pytest.raises(NameError):
        function(2)


def test_the_loop_must_call_the_functions_that_are_the_students(tmp_path):
    changes = [("loss, grads, state = loss_and_gradients", "loss, grads, state = minilstm.model.loss_and_gradients"),
               ("    state = zero_state(", "    import minilstm.model\n    state = zero_state(")]  # fmt: skip
    save_all(tmp_path, lesson8=changes)
    part = by_name(collect(NOTHING_PASTED, tmp_path))["train_one_epoch"]
    assert not part.is_yours
    assert "does not call loss_and_gradients by that name" in part.words


OTHERWISE = [(name, function) for answers in (lesson02, lesson03, lesson05, lesson06, lesson07, lesson08)
             for name, function in answers.RIGHT if name in PARTS]  # fmt: skip


@pytest.mark.parametrize(("name", "function"), OTHERWISE, ids=[f"{n}-{f.__name__}" for n, f in OTHERWISE])
def test_a_right_answer_written_otherwise_fits_in(name, function):
    part = try_out(Part(name, PARTS[name], function, True, "right"))
    assert part.is_yours, part.words


IN_FLOAT32 = {
    "softmax": lesson02.softmax_in_float32,
    "softmax_layer_backward": lesson02.layer_in_float32,
    "numerical_gradient": lesson03.with_nditer,
    "lstm_step_forward": lesson06.forward_in_float32,
    "lstm_step_backward": lesson06.step_in_float32,
    "stack_layers": lesson07.stack_in_float32,
}


def softmax_that_hides_float32(logits):
    exps = np.exp(logits.astype(np.float32) - logits.max(1, keepdims=True))
    return (exps / exps.sum(1, keepdims=True)).astype(float)


def numerical_gradient_of_rounded_losses(loss, x, h):
    return SOLUTIONS["numerical_gradient"](lambda moved: np.float32(loss(moved)), x, h)


HIDDEN = [("softmax", softmax_that_hides_float32), ("numerical_gradient", numerical_gradient_of_rounded_losses)]


@pytest.mark.parametrize(("name", "function"), OTHERWISE + HIDDEN, ids=[f.__name__ for _, f in OTHERWISE + HIDDEN])
def test_the_check_of_the_gradient_knows_which_parts_are_in_float32(name, function, capsys):
    functions = SOLUTIONS | {name: function}
    in_float32 = function in [*IN_FLOAT32.values(), *(function for _, function in HIDDEN)]
    assert parts_in_float32(functions) == [name] * in_float32
    errors = gradient_errors(assemble(functions))
    assert max(errors.values()) < (FLOAT32_ERROR / 2 if in_float32 else 1e-8)
    assert f"in float32: {name}. So the step h is 0.03" in capsys.readouterr().out or not in_float32


def test_a_network_in_float32_is_right_within_what_is_said_and_a_wrong_one_is_not(capsys):
    functions = SOLUTIONS | IN_FLOAT32
    assert max(gradient_errors(assemble(functions)).values()) < FLOAT32_ERROR / 2
    assert capsys.readouterr().out.startswith(f"in float32: {', '.join(sorted(IN_FLOAT32, key=order_said))}. So")
    assert max(errors_at(assemble(functions), STEP).values()) > FLOAT32_ERROR  # why the step is larger

    def forgets_dh(dout, dh_next, *rest):
        return IN_FLOAT32["lstm_step_backward"](dout, 0 * dh_next, *rest)

    assert max(gradient_errors(assemble(functions | {"lstm_step_backward": forgets_dh})).values()) > 10 * FLOAT32_ERROR


def order_said(name):
    """The order in which parts in float32 are named: `numerical_gradient` last."""
    return name == "numerical_gradient", [*PARTS].index(name)


def test_of_the_package_the_gradient_is_checked_with_the_small_step_and_without_a_word(capsys):
    network = assemble(SOLUTIONS)
    assert gradient_errors(network) == errors_at(network, STEP) != errors_at(network, FLOAT32_STEP)
    assert not capsys.readouterr().out


IMPORT = "from minilstm_lessons.solutions.lesson06 import lstm_step_backward"
IMPORTED = {
    "solution": [IMPORT],
    "after a definition": ["def lstm_step_backward(*a):\n    return 1", IMPORT],
    "module": ["import minilstm_lessons.solutions.lesson06 as s", "lstm_step_backward = s.lstm_step_backward"],
    "called": [IMPORT + " as ours", "def lstm_step_backward(*a):\n    return ours(*a)"],
    "within": [f"def lstm_step_backward(*a):\n    {IMPORT} as ours\n    return ours(*a)"],
}


@pytest.mark.parametrize("cells", IMPORTED.values(), ids=IMPORTED)
def test_a_function_that_is_imported_is_ours(cells, tmp_path):
    save_all(tmp_path)
    save(tmp_path, 6, text_of(6).replace("def lstm_step_backward", "def another"), *cells)
    parts = by_name(collect(NOTHING_PASTED, tmp_path))
    assert [name for name, part in parts.items() if not part.is_yours] == ["lstm_step_backward"]
    assert parts["lstm_step_backward"].words.startswith("imported, not written")
    assert parts["lstm_step_backward"].function is SOLUTIONS["lstm_step_backward"]


@pytest.mark.parametrize("cells", IMPORTED.values(), ids=IMPORTED)
def test_a_function_that_is_imported_where_functions_are_pasted_is_ours(cells, tmp_path):
    pasted = NOTHING_PASTED | {"In": ["", "import numpy as np", *cells]}
    for cell in cells:
        exec(cell, pasted)
    found = find("lstm_step_backward", 6, pasted, tmp_path)
    assert found.function is None
    assert found.words.startswith("imported, not written")
    save(tmp_path, 6, "def lstm_step_backward(*a):\n    ...")
    part = choose("lstm_step_backward", 6, find("lstm_step_backward", 6, pasted, tmp_path), {})
    assert part.words.startswith("imported, not written")
    save(tmp_path, 6, text_of(6))  # the student's own is in the notebook
    assert find("lstm_step_backward", 6, pasted, tmp_path).where == "06_lesson.ipynb"


def test_the_network_computes_what_the_package_computes():
    network = assemble(SOLUTIONS)
    params, state = init_params(TRIAL, 7), zero_state(TRIAL, 3)
    inputs, targets = TRIAL_DATA[:4], TRIAL_DATA[1:5]
    loss, grads, after = network.loss_and_gradients(params, TRIAL, inputs, targets, state)
    loss_expected, grads_expected, after_expected = loss_and_gradients(params, TRIAL, inputs, targets, state)
    assert np.isclose(loss, loss_expected, rtol=1e-5)
    np.testing.assert_allclose(after, after_expected, rtol=1e-4, atol=1e-6)
    for name, grad in grads_expected.items():
        if name != "encoder.weight":
            np.testing.assert_allclose(grads[name], grad, rtol=1e-3, atol=1e-5)


def test_the_network_steps_as_the_package_does():
    losses, params = assemble(SOLUTIONS).train_one_epoch(init_params(TRIAL, 7), TRIAL, TRIAL_DATA, 0.5)
    expected_params = init_params(TRIAL, 7)
    expected, _ = package_epoch(expected_params, TRIAL, TRIAL_DATA, 0.5)  # in place
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for name, param in expected_params.items():
        np.testing.assert_allclose(params[name], param, rtol=1e-3, atol=1e-5, err_msg=name)


def test_sentences_and_the_first_impossible_word():
    corpus = load_corpus()
    grammar = read_grammar(corpus.grammar)
    sentences = sentences_of(corpus.splits["valid"][:200], corpus.vocabulary)
    assert len(sentences) > 5
    assert all(first_impossible(grammar, words) is None for words in sentences)
    assert first_impossible(grammar, [*sentences[0][:3], "zebra"]) == 3
    assert first_impossible(grammar, sentences[0][:3]) == 3


def test_own_or_ours():
    solution = EXERCISES["triangle_schedule"].solution

    def triangle_schedule(peak, num_warmup, num_legs): ...

    assert own_or_ours(triangle_schedule) is solution
    assert own_or_ours(solution) is solution


def test_files_of_the_shipped_notebooks_are_left_as_they_are(tmp_path):
    for path in LESSONS.glob("0*.ipynb"):
        shutil.copy(path, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    collect(NOTHING_PASTED, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
