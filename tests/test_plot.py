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

from minilstm.cli import main
from minilstm.errors import UserError
from minilstm.runs.canvas import default_settings, format_tick, log_ticks
from minilstm.runs.curves import PANELS, read_runs
from minilstm.runs.directory import COLUMNS, read_metrics
from minilstm.runs.plot import FORMATS, LOWER_HEIGHT, MAX_POINTS, WIDTH, draw_figure, plot_runs, thin_out, two_decimals

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
    return changed(run, floor=floor)


def changed(run, **entries):
    """The same run with other entries in its config.json."""
    description = json.loads((run / "config.json").read_text()) | entries
    (run / "config.json").write_text(json.dumps(description))
    return run


def figure_of(*runs, panels=("perplexity",), band=False):
    """The figure that `plot_runs` would save, laid out. Nothing may warn."""
    with default_settings(), warnings.catch_warnings(action="error"):
        figure = draw_figure(read_runs(runs, panels, band)[0], panels)
        figure.draw_without_rendering()
    return figure


def legend_of(figure):
    """Entries of the legend: text -> handle."""
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(set(texts)) == len(texts)
    return dict(zip(texts, legend.legend_handles, strict=True))


def assert_nothing_is_cut_or_covered(figure):
    """The legend is inside the figure and below the axes, which keep their size and have ticks with labels."""
    inside = figure.bbox.padded(1)
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    (legend,) = figure.legends
    for box in [*boxes, legend.get_window_extent(), legend.get_title().get_window_extent()]:
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1
    assert legend.get_window_extent().y1 <= min(box.y0 for box in boxes) + 1
    for axes in figure.axes:
        assert axes.bbox.width > 0.75 * WIDTH * figure.dpi
        assert axes.bbox.height > 0.7 * LOWER_HEIGHT * figure.dpi
        labels = [label for label in axes.get_yticklabels() if label.get_text()]
        ticks = [tick for tick in axes.get_yticks() if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]]
        assert 2 <= len(ticks) <= 12
        assert len(labels) >= len(ticks)
        assert axes.get_ylabel()


def points_in_sight(axes, line):
    """Whether each point of a line is between the limits of the axes."""
    low, high = axes.get_ylim()
    return [low < value < high for value in line.get_ydata()]


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


def test_the_axis_begins_at_the_floor_however_high_the_first_steps_are(finished_run, tmp_path):
    run = with_floor(with_rows(finished_run, tmp_path / "r", "1,1,train,1e20,1,9,1,5", TRAIN, VALID), 8.0)
    (axes,) = figure_of(run).axes
    assert axes.get_ylim() == pytest.approx((0.93 * 8, 1.07 * 6 * 8))


OVERFIT = [(n, 9 * 0.95**n, 40 * 1.4**n) for n in range(1, 16)]
DIVERGED = [(1, 9, 8), (2, 1e20, 3e20), (3, 1e20, 1e20)]
ALIKE = [(n, 120 + 0.01 * n, 120.2) for n in range(1, 4)]
FIRST_BAD = [(1, 5e9, 9), (2, 7, 6)]


@pytest.mark.parametrize("epochs", [OVERFIT, DIVERGED, ALIKE, FIRST_BAD, ALIKE[:1], DIVERGED[:2]])
@pytest.mark.parametrize("early", [5000.0, 1e30, 3.0])
@pytest.mark.parametrize("company", [False, True])
def test_only_early_training_points_may_be_cut(finished_run, tmp_path, epochs, early, company):
    rows = [f"1,{step},train,{early},1,9,1,5" for step in (1, 5)]
    for n, train, valid in epochs:
        rows += [f"{n},{10 * n},train,{train},1,9,,5", f"{n},{10 * n},valid,{valid},,,,5"]
    last = epochs[-1][0]
    rows += [f"{last},{10 * last},test,{1.5 * epochs[-1][2]},,,,5", f"{last},{10 * last},test,1.5,,,,5"]
    runs = [with_rows(finished_run, tmp_path / "r", *rows)]
    if company:
        runs.append(with_rows(finished_run, tmp_path / "other", TRAIN, VALID, TEST))
    figure = figure_of(*runs)
    assert_nothing_is_cut_or_covered(figure)
    (axes,) = figure.axes
    for line in axes.lines:
        for epoch, seen in zip(line.get_xdata(), points_in_sight(axes, line), strict=True):
            assert seen or epoch < 1
    best = min(epochs, key=lambda row: row[2])
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [*rings[0].get_xdata(), *rings[0].get_ydata()] == [best[0], best[2]]
    assert any(f"{two_decimals(best[2])} (epoch {best[0]})" in text for text in legend_of(figure))


@pytest.mark.parametrize("low", [1e-300, 0.001, 0.9, 1, 3.14, 8.7, 120, 9.9e5, 4e100])
@pytest.mark.parametrize("ratio", [1.15, 1.3, 2, 3, 6, 20, 300, 1e5, 1e20, 1e200])
def test_a_logarithmic_axis_has_some_ticks_and_not_too_many(low, ratio):
    ticks = log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted({tick for tick in ticks if low <= tick <= low * ratio})
    assert len({format_tick(tick) for tick in ticks}) == len(ticks)


def test_labels_stay_short():
    assert [two_decimals(value) for value in (1.005, 999_999.5, 1e6, 1e304)] == [
        "1.00", "999999.50", "1.00e+06", "1.00e+304",
    ]  # fmt: skip


def test_all_test_rows_are_one_curve_whose_label_is_the_last(finished_run, tmp_path):
    tests = [f"{n},{10 * n},test,{n + 2},,,,5" for n in range(1, 4001)]
    figure = figure_of(with_rows(finished_run, tmp_path / "r", TRAIN, VALID, *tests))
    assert list(legend_of(figure)) == ["train: 12.00", "valid: 11.00", "best valid: 11.00 (epoch 1)", "test: 4002.00"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_curve_of_very_many_rows_is_drawn_with_few_points(finished_run, tmp_path, suffix):
    rows = [f"{n},{n},{split},9,1,9,1,5" for n in range(1, 20_001) for split in ("train", "valid", "test")]
    run = with_rows(finished_run, tmp_path / "r", *rows)
    sizes = [len(line.get_xdata()) for axes in figure_of(run, panels=list(PANELS)).axes for line in axes.lines]
    assert len(sizes) == 4 + 3 + 1  # train, valid, ring, test; norm, learning rate, speed; threshold, of two points
    assert max(sizes) <= MAX_POINTS
    plot_runs([run], tmp_path / f"p.{suffix}")
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
