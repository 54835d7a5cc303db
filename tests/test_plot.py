"""Curves are drawn from any readable metrics.csv within bounds, or refused in one line."""

import json
import os
import shutil
import sys
import warnings
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from kill import write_corpus
from matplotlib.axes import Axes

from minilstm.cli import main
from minilstm.errors import UserError
from minilstm.runs.directory import COLUMNS, read_metrics
from minilstm.runs.plot import FORMATS, MAX_POINTS, plot_runs, thin_out, two_decimals

TINY = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]
HEADER = ",".join(COLUMNS)
TRAIN, VALID, TEST = "1,5,train,12,1,9,1,5", "1,10,valid,11,,,,5", "1,10,test,10,,,,5"


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A finished run's directory, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    corpus, run = write_corpus(folder / "c"), folder / "r"
    assert main(["train", "--data", str(corpus), "--out", str(run), *TINY]) == 0
    return run


def with_rows(finished_run, run, *rows):
    """A copy of a run with other rows in its metrics.csv."""
    shutil.copytree(finished_run, run)
    (run / "metrics.csv").write_text("\n".join([HEADER, *rows, ""]))
    return run


def with_floor(run, floor):
    """The same run with another floor in its config.json."""
    description = json.loads((run / "config.json").read_text()) | {"floor": floor}
    (run / "config.json").write_text(json.dumps(description))
    return run


def drawn_labels(monkeypatch):
    """A list that receives the label of every curve drawn from now on."""
    labels, plot = [], Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, *a, **k: labels.append(k["label"]) or plot(self, *a, **k))
    return labels


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "has no finished epoch"),
        ([TRAIN], "has no finished epoch"),
        ([TRAIN, TEST], "has no finished epoch"),
        ([VALID], "has no train row"),
        ([VALID, TEST], "has no train row"),
        (["1,11,train,12,1,9,1,5", VALID], "has no train row"),  # neither in the first epoch nor at an epoch's end
        ([TRAIN.replace("12", "0"), VALID.replace("11", "0"), TEST.replace(",10,,", ",0,,")], "perplexity 0,"),
        ([TRAIN, VALID.replace("11", "0")], "perplexity 0,"),
        ([TRAIN, VALID, TEST.replace(",10,,", ",0.5,,")], "perplexity 0.5,"),
        ([TRAIN.replace("12", "5e-324"), VALID], "perplexity 4.94066e-324,"),
        ([TRAIN, "1,7,train,-0,1,9,1,5", VALID], "perplexity -0,"),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_metrics_that_cannot_be_drawn_are_refused(capsys, finished_run, tmp_path, rows, says, number):
    run = with_rows(finished_run, tmp_path / "r", *rows)
    assert main(["plot", *[str(run)] * number, "-o", str(tmp_path / "p.png")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minilstm: error: ")
    assert error.count("\n") == 1
    assert says in error
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize("floor", [0, 0.0, 1e-300, 0.5])
def test_a_floor_that_no_text_has_is_refused(capsys, finished_run, tmp_path, floor):
    run = with_floor(with_rows(finished_run, tmp_path / "r", TRAIN, VALID), floor)
    assert main(["plot", str(run), "-o", str(tmp_path / "p.png")]) == 2
    error = capsys.readouterr().err
    assert "config.json has the perplexity" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("perplexity", ["1", "1.0000001", "1e6", "9.9e304"])
def test_the_extremes_of_a_perplexity_can_be_drawn(finished_run, tmp_path, suffix, perplexity):
    rows = [f"1,5,train,{perplexity},1,9,1,5", f"1,10,valid,{perplexity},,,,5", "2,9007199254740992,test,1,,,,5"]
    run = with_floor(with_rows(finished_run, tmp_path / "r", *rows), 9 * 10**304)
    with warnings.catch_warnings(action="error"):
        plot_runs([run], tmp_path / f"p.{suffix}")
        with_floor(run, 0.9999999999999998)  # a text of probability 1, with a rounding error
        plot_runs([run], tmp_path / f"p.{suffix}")
    assert (tmp_path / f"p.{suffix}").stat().st_size > 1000


def test_the_axis_begins_at_the_floor_however_high_the_first_steps_are(finished_run, tmp_path, monkeypatch):
    limits, set_ylim = [], Axes.set_ylim
    monkeypatch.setattr(Axes, "set_ylim", lambda self, *a, **k: limits.append(a) or set_ylim(self, *a, **k))
    run = with_floor(with_rows(finished_run, tmp_path / "r", "1,1,train,1e20,1,9,1,5", TRAIN, VALID), 8.0)
    plot_runs([run], tmp_path / "p.png")
    assert limits[-1] == (0.93 * 8, 6 * 8)


def test_labels_stay_short():
    assert [two_decimals(value) for value in (1.005, 999_999.5, 1e6, 1e304)] == [
        "1.00", "999999.50", "1.00e+06", "1.00e+304",
    ]  # fmt: skip


def test_all_test_rows_are_one_curve_whose_label_is_the_last(finished_run, tmp_path, monkeypatch):
    labels = drawn_labels(monkeypatch)
    tests = [f"{n},{10 * n},test,{n + 2},,,,5" for n in range(1, 4001)]
    plot_runs([with_rows(finished_run, tmp_path / "r", TRAIN, VALID, *tests)], tmp_path / "p.png")
    assert labels == ["train: 12.00", "valid: 11.00", "test: 4002.00"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_curve_of_very_many_rows_is_drawn_with_few_points(finished_run, tmp_path, monkeypatch, suffix):
    sizes, plot = [], Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, x, *a, **k: sizes.append(len(x)) or plot(self, x, *a, **k))
    rows = [f"{n},{n},{split},9,,,,5" for n in range(1, 20_001) for split in ("train", "valid", "test")]
    plot_runs([with_rows(finished_run, tmp_path / "r", *rows)], tmp_path / f"p.{suffix}")
    assert len(sizes) == 3
    assert max(sizes) <= MAX_POINTS
    assert (tmp_path / f"p.{suffix}").stat().st_size < 3_000_000


@pytest.mark.parametrize("number", [0, 1, MAX_POINTS - 1, MAX_POINTS, MAX_POINTS + 1, 3 * MAX_POINTS + 7])
def test_thinning_out_keeps_the_last_row_and_few_others_unless_they_are_few(number):
    rows = [{"step": n} for n in range(number)]
    kept = thin_out(rows)
    assert kept[-1:] == rows[-1:]
    assert len(kept) <= MAX_POINTS
    assert kept == rows or number > MAX_POINTS
    assert len({b["step"] - a["step"] for a, b in pairwise(kept)}) <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name is always UTF-8")
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", [b"r\xff", b"\xed\xa0\x80", b"\xe2\x82", b"a\x1b[31m\nb\xc3"])
def test_a_run_whose_name_is_not_utf_8_can_be_drawn(finished_run, tmp_path, capsys, suffix, name):
    run = tmp_path / os.fsdecode(name)
    shutil.copytree(finished_run, run)
    output = tmp_path / (os.fsdecode(name) + "." + suffix)
    assert main(["plot", str(run), str(finished_run), "-o", str(output)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.count("\n") == 1
    printed.out.encode("utf-8", "strict")
    assert "\x1b" not in printed.out
    if suffix == "svg":
        ElementTree.parse(output)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ["名前", "\U0001f600", "\u202eabc", "a--b", "<&>", "\ue000", "e\u0301"])
def test_a_run_whose_name_has_letters_that_no_font_has_is_drawn_without_a_word(
    finished_run, tmp_path, capsys, suffix, name
):
    shutil.copytree(finished_run, tmp_path / name)
    assert main(["plot", str(tmp_path / name), str(finished_run), "-o", str(tmp_path / f"p.{suffix}")]) == 0
    assert capsys.readouterr().err == ""


def test_a_run_of_which_a_row_was_removed_names_the_file(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "r")
    rows = [row for row in read_metrics(run) if row["split"] != "train"]
    assert rows
    lines = (run / "metrics.csv").read_text().split("\n")
    (run / "metrics.csv").write_text("\n".join(line for line in lines if ",train," not in line))
    with pytest.raises(UserError, match=r"metrics\.csv has no train row"):
        plot_runs([run], tmp_path / "p.png")
