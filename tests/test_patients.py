"""Lesson 3's wrong gradients: made by edits, all of them wrong, and told apart by what the lesson looks at."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from minilstm_lessons.patients import DISEASES, draw_patient, examine, rnn_case, three_versions
from minilstm_lessons.rnn import rnn_backward
from minilstm_lessons.surgery import operate

from minilstm.gradcheck import check_gradients


def is_right(edits):
    return all(result.error < 1e-7 for result in check_gradients(*rnn_case(edits)))


def test_one_version_and_one_disease_is_right():
    assert [name for name, edits in three_versions().items() if is_right(edits)] == ["B"]
    assert [name for name, edits in DISEASES.items() if is_right(edits)] == ["healthy"]


def test_a_single_step_tells_diseases_apart_that_look_alike_with_five():
    wrong = {T: [[errors.max() > 1e-7 for _, _, errors in examine(edits, T).values()] for edits in DISEASES.values()]
             for T in (5, 1)}  # fmt: skip
    assert [sum(row) for row in wrong[5]] == [0, 1, 1, 1, 5, 5, 5, 5]
    assert [sum(row) for row in wrong[1]] == [0, 1, 1, 1, 5, 1, 1, 0]


def test_surgery_takes_a_piece_that_is_there_once():
    for piece in ("a piece that is nowhere", "dh_next"):
        with pytest.raises(ValueError, match="is there"):
            operate(rnn_backward, edits={piece: "0"})
    [same] = operate(rnn_backward, edits={})
    assert same is not rnn_backward


def test_the_quiz_tells_a_right_diagnosis_from_a_wrong_one():
    disease = str(np.random.default_rng(1).choice(list(DISEASES)))
    said = {}
    for diagnosis in ("?", *DISEASES):
        draw_patient(1, diagnosis)
        said[diagnosis] = plt.gcf()._suptitle.get_text()
        plt.close()
    assert said.pop("?").endswith("diagnosis: ?")
    assert [name for name, text in said.items() if text.endswith(": right")] == [disease]
    assert sum(text.endswith(": no") for text in said.values()) == len(DISEASES) - 1
