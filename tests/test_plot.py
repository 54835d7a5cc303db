"""Curves are drawn from any readable metrics.csv within bounds, or refused in one line."""

import json
import logging
import os
import shutil
import subprocess
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
from minilstm.runs.picture import FORMATS
from minilstm.runs.plot import LOWER_HEIGHT, MAX_POINTS, WIDTH, draw_figure, plot_runs, thin_out, two_decimals

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
        ([TRAIN.replace("12", "0"), VALID.replace("11", "0"), TEST.replace(",10,,", ",0,,")], "is not a valid row"),
        ([TRAIN, VALID.replace("11", "0")], "is not a valid row"),
        ([TRAIN, VALID, TEST.replace(",10,,", ",0.5,,")], "is not a valid row"),
        ([TRAIN.replace("12", "5e-324"), VALID], "is not a valid row"),
        ([TRAIN, "1,7,train,-0,1,9,1,5", VALID], "is not a valid row"),
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
    assert "config.json is damaged (its data, text or floor is not valid)" in error
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
@pytest.mark.parametrize("early", [1e30, 3.0])
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
    assert list(legend_of(figure)) == [
        "train: 12.00",
        "valid: 11.00",
        "best valid: 11.00 (epoch 1)",
        "test: 4002.00, of the best epoch 3.00",
    ]


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


def runs_in(finished_run, folder, names, epochs=3, **entries):
    """Runs that differ a little, in directories of these names."""
    runs = []
    for i, name in enumerate(names):
        rows = [f"1,5,train,{30 + i},1,9,4,5"]
        for n in range(1, epochs + 1):
            rows += [f"{n},{10 * n},train,{20 / n + i},{0.5**n},{900 + n},,5", f"{n},{10 * n},valid,{22 / n + i},,,,5"]
        rows.append(f"{epochs},{10 * epochs},test,{21 / epochs + i},,,,5")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        runs.append(changed(with_rows(finished_run, folder / name, *rows), seed=i, **entries))
    return runs


def styles_of(handles):
    return {(handle.get_color(), repr(handle.get_linestyle()), handle.get_marker()) for handle in handles}


@pytest.mark.parametrize("number", [2, 7, 12])
@pytest.mark.parametrize("panels", [["perplexity"], list(PANELS), ["norm"]])
def test_a_dozen_runs_can_be_told_apart(finished_run, tmp_path, number, panels):
    runs = runs_in(finished_run, tmp_path, [f"run{n}" for n in range(number)])
    figure = figure_of(*runs, panels=panels)
    assert_nothing_is_cut_or_covered(figure)
    of_runs = {text: handle for text, handle in legend_of(figure).items() if text.startswith("run")}
    assert len(of_runs) == len(styles_of(of_runs.values())) == number
    for axes in figure.axes:
        assert styles_of(of_runs.values()) <= styles_of(axes.lines)
    if "perplexity" in panels:
        assert list(of_runs)[1] == "run1: best valid 8.33 (epoch 3), test 8.00"
    assert figure.get_figwidth() == WIDTH


def test_more_than_a_dozen_runs_are_refused_in_one_line(finished_run, tmp_path, capsys):
    runs = runs_in(finished_run, tmp_path, [f"run{n}" for n in range(13)])
    assert main(["plot", *map(str, runs), "-o", str(tmp_path / "p.png")]) == 2
    error = capsys.readouterr().err
    assert "13 runs" in error
    assert "up to 12" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/small", "b/small"], ["a/small", "b/small"]),
        (["a/x/small", "b/x/small", "c"], ["a/x/small", "b/x/small", "c"]),
        (["small", "small/small"], None),
        (["_a", "$x_{$ $", "{}", "%s"], ["_a", "$x_{$ $", "{}", "%s"]),
        (["名前", "名字", "\u200b", "a\u202eb"], ["\\u540d\\u524d", "\\u540d\\u5b57", "\\u200b", "a\\u202eb"]),
        (["W" * 200, "W" * 199 + "V", "é" * 100], ["W" * 200, "W" * 199 + "V", "é" * 100]),
        (["前" * 80 + "1", "前" * 80 + "2"], ["\\u524d" * 80 + "1", "\\u524d" * 80 + "2"]),
        ([f"{c}/{c * 200}/{'y' * 200}/{'z' * 200}/r" for c in "ab"], None),
    ],
)
def test_names_tell_runs_apart_and_fit(finished_run, tmp_path, names, labels):
    figure = figure_of(*runs_in(finished_run, tmp_path, names))
    assert_nothing_is_cut_or_covered(figure)
    assert figure.get_figwidth() < 2 * WIDTH
    texts = list(legend_of(figure))
    assert len(texts) == len(names)
    if labels:
        assert [text.replace("\n", "").partition(":")[0] for text in texts] == labels


def test_the_current_directory_is_called_by_its_name(finished_run, tmp_path, monkeypatch):
    one, _ = runs_in(finished_run, tmp_path, ["one", "other"])
    monkeypatch.chdir(one)
    assert [text.partition(":")[0] for text in legend_of(figure_of(".", "../other/."))] == ["one", "other"]


def test_the_tests_of_the_best_epoch_and_of_the_last_are_told_apart(finished_run, tmp_path):
    a, b = runs_in(finished_run, tmp_path, "ab")
    with open(a / "metrics.csv", "a") as file:
        file.write("2,20,valid,2,,,,5\n2,20,test,2.5,,,,5\n4,40,test,8,,,,5\n")
    assert list(legend_of(figure_of(a, b))) == [
        "a: best valid 2.00 (epoch 2), test 8.00, of the best epoch 2.50",
        "b: best valid 8.33 (epoch 3), test 8.00",
    ]
    assert "test: 8.00, of the best epoch 2.50" in legend_of(figure_of(a))
    assert "test: 8.00" in legend_of(figure_of(b))


def test_perplexities_of_characters_and_of_words_are_not_mixed_without_a_word(finished_run, tmp_path, capsys):
    a, b = runs_in(finished_run, tmp_path, "ab", unit="char")
    assert figure_of(a, b).axes[0].get_ylabel() == "perplexity per character (log scale)"
    changed(b, unit="word")
    assert figure_of(a, b).axes[0].get_ylabel() == "perplexity (log scale)"
    assert main(["plot", str(a), str(b), "-o", str(tmp_path / "p.png")]) == 0
    assert capsys.readouterr().err == "minilstm: perplexities per char and per word cannot be compared\n"


def test_unfinished_runs_do_not_block_the_others(finished_run, tmp_path, capsys):
    runs = runs_in(finished_run, tmp_path, ["a", "b"])
    unfinished = [with_rows(finished_run, tmp_path / name, TRAIN) for name in ("u", "v")]
    command = ["plot", "-o", str(tmp_path / "p.png")]
    assert main([*command, str(unfinished[0]), *map(str, runs), str(unfinished[1])]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"minilstm: left out, because no epoch is finished yet: {unfinished[0]}, {unfinished[1]}\n"
    (tmp_path / "p.png").unlink()
    assert main([*command, *map(str, unfinished)]) == 2
    error = capsys.readouterr().err
    assert "none of these 2 runs has a finished epoch" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize("again", ["a", "a/.", "link"])
def test_a_run_that_is_given_twice_is_drawn_once(finished_run, tmp_path, capsys, again):
    a, b = runs_in(finished_run, tmp_path, ["a", "b"])
    (tmp_path / "link").symlink_to(a)
    runs = [a, b, tmp_path / again]
    assert [text[0] for text in legend_of(figure_of(*runs))] == ["a", "b"]
    assert main(["plot", *map(str, runs), "-o", str(tmp_path / "p.png")]) == 0
    assert capsys.readouterr().err.endswith("is given twice; it is drawn once\n")


def test_a_band_is_the_mean_of_the_seeds_with_the_least_and_the_greatest(finished_run, tmp_path):
    runs = runs_in(finished_run, tmp_path, "abc", floor=2.5)
    figure = figure_of(*runs, panels=list(PANELS), band=True)
    assert_nothing_is_cut_or_covered(figure)
    assert list(legend_of(figure)) == [
        "train: 7.67 (6.67 to 8.67)",
        "valid: 8.33 (7.33 to 9.33)",
        "best valid: 8.33 (epoch 3)",
        "test: 8.00 (7.00 to 9.00)",
        "floor, the true source: 2.50",
        "clipping threshold: 5",
    ]
    assert figure.legends[0].get_title().get_text().startswith("mean of 3 runs (seeds 0, 1, 2)")
    axes = figure.axes[0]
    _, valid, *_ = axes.lines
    assert list(valid.get_ydata()) == pytest.approx([23, 12, 22 / 3 + 1])
    band = axes.collections[1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(22 / 3)
    assert band[:, 1].max() == pytest.approx(24)


def test_a_band_ends_where_the_shortest_run_ends(finished_run, tmp_path, capsys):
    runs = [*runs_in(finished_run, tmp_path, "ab", epochs=5), *runs_in(finished_run, tmp_path / "short", ["c"])]
    changed(runs[2], seed=7)
    assert main(["plot", "--band", *map(str, runs), "-o", str(tmp_path / "p.png")]) == 0
    assert capsys.readouterr().err.split("\n") == [
        "minilstm: the mean ends at epoch 3, the last that all of these runs have finished",
        "minilstm: without the test perplexity, which not all of these runs have after the same epoch",
        "",
    ]
    _, valid, *_ = figure_of(*runs, band=True).axes[0].lines
    assert list(valid.get_xdata()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 0}, "have seed 0"),
        ({"keep_prob": [0.5]}, "differ in keep_prob (0.9, [0.5]);"),
        ({"hidden_size": 9}, "differ in --hidden-size (4, 9);"),
        ({"keep_prob": 0.5, "model": "large"}, "differ in keep_prob (0.9, 0.5), model (toy, large);"),
        ({"text": {"train": "0"}}, "differ in the text;"),
        ({"floor": 2.0}, "differ in floor (None, 2.0);"),
        (None, "at least two runs"),
    ],
)
def test_a_band_of_anything_but_seeds_is_refused(finished_run, tmp_path, capsys, change, says):
    one, other = runs_in(finished_run, tmp_path, "ab")
    runs = [one] if change is None else [one, changed(other, **change)]
    assert main(["plot", "--band", *map(str, runs), "-o", str(tmp_path / "p.png")]) == 2
    error = capsys.readouterr().err
    assert says in error.replace("--keep-prob", "keep_prob")
    assert error.count("\n") == 1


def test_a_band_takes_runs_of_before_an_entry_of_config_json(finished_run, tmp_path):
    one, other = runs_in(finished_run, tmp_path, "ab")
    description = json.loads((other / "config.json").read_text())
    del description["forget_bias"]
    description["text"] = description["text"]["train"]
    (other / "config.json").write_text(json.dumps(description))
    figure_of(one, other, band=True)


@pytest.mark.parametrize("panels", [["norm", "learning-rate", "speed", "perplexity"], ["speed", "norm"], ["norm"]])
def test_panels_are_in_the_order_in_which_they_are_given(finished_run, tmp_path, panels):
    (run,) = runs_in(finished_run, tmp_path, ["a"])
    figure = figure_of(run, panels=panels)
    assert_nothing_is_cut_or_covered(figure)
    starts = {"norm": "gradient norm", "learning-rate": "learning rate", "speed": "speed", "perplexity": "perplexity"}
    assert len(figure.axes) == len(panels)
    for axes, panel in zip(figure.axes, panels, strict=True):
        assert axes.get_ylabel().startswith(starts[panel])
    assert [axes.get_xlabel() for axes in figure.axes] == [""] * (len(panels) - 1) + ["epoch"]
    axes = figure.axes[panels.index("norm")]
    norm, threshold = axes.lines
    assert list(norm.get_ydata()) == [4]
    assert set(threshold.get_ydata()) == {5}
    assert all(points_in_sight(axes, norm) + points_in_sight(axes, threshold))
    assert "clipping threshold: 5" in legend_of(figure)


@pytest.mark.parametrize("norm", ["0", "1e-300", "0.9", "40", "9e304"])
@pytest.mark.parametrize("threshold", [1e-30, 0.1, 5, 1e30])
def test_a_threshold_is_in_sight_or_said_not_to_be(finished_run, tmp_path, norm, threshold):
    rows = [f"1,{step},train,9,{rate},{speed},{norm},5" for step, rate, speed in ((5, 0, 0), (10, 1e-9, 1e305 / 2))]
    run = changed(with_rows(finished_run, tmp_path / "r", *rows, VALID), max_grad_norm=threshold)
    figure = figure_of(run, panels=["norm", "learning-rate", "speed"])
    assert_nothing_is_cut_or_covered(figure)
    axes = figure.axes[0]
    assert all(axes.get_ylim()[0] <= value < axes.get_ylim()[1] for value in axes.lines[0].get_ydata())
    in_sight = 0.001 <= threshold / (float(norm) or 1e-300) <= 1000
    assert list(legend_of(figure)) == [f"clipping threshold: {threshold:g}" + ", outside the panel" * (not in_sight)]
    assert [points_in_sight(axes, line) for line in axes.lines[1:]] == [[True, True]] * in_sight


def test_levels_that_differ_are_named_with_their_runs(finished_run, tmp_path):
    a, b, c = runs_in(finished_run, tmp_path, "abc")
    with_floor(a, 3.0)
    with_floor(b, 2.0)
    changed(c, max_grad_norm=2)
    figure = figure_of(a, b, c, panels=["perplexity", "norm"])
    assert list(legend_of(figure)) == [
        "a: best valid 7.33 (epoch 3), test 7.00, floor 3.00, clipped at 5",
        "b: best valid 8.33 (epoch 3), test 8.00, floor 2.00, clipped at 5",
        "c: best valid 9.33 (epoch 3), test 9.00, clipped at 2",
        "floor, the true source",
        "clipping threshold",
    ]
    levels = [
        {float(line.get_ydata()[0]) for line in axes.lines if line.get_color() == "#555555"} for axes in figure.axes
    ]
    assert levels == [{2.0, 3.0}, {2.0, 5.0}]


def test_runs_without_a_column_are_named(finished_run, tmp_path, capsys):
    one = with_rows(finished_run, tmp_path / "one", "1,10,train,12,1,9,,5", VALID)
    (other,) = runs_in(finished_run, tmp_path, ["other"])
    command = ["plot", "--what", "norm", "-o", str(tmp_path / "p.png")]
    assert main([*command, str(one), str(other)]) == 0
    assert capsys.readouterr().err == f"minilstm: there is no gradient_norm in the metrics.csv of {one}\n"
    assert main([*command, str(one)]) == 2
    assert f"there is no gradient_norm in {one / 'metrics.csv'}; omit the panel norm\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("loss", "invalid choice: 'loss' (choose from perplexity, norm, learning-rate, speed)"),
        ("", "invalid choice: ''"),
        ("norm,", "invalid choice: ''"),
        ("norm,perplexity,norm", "norm is given twice"),
    ],
)
def test_a_panel_that_does_not_exist_or_exists_already_is_refused(finished_run, tmp_path, capsys, what, says):
    assert main(["plot", str(finished_run), "--what", what, "-o", str(tmp_path / "p.png")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_endings_may_be_in_capitals_and_others_are_refused(finished_run, tmp_path, capsys):
    assert main(["plot", str(finished_run), "-o", str(tmp_path / "p.PNG")]) == 0
    assert (tmp_path / "p.PNG").read_bytes().startswith(b"\x89PNG")
    for name in ("p.jpg", "p", ".png", "png/"):
        capsys.readouterr()
        assert main(["plot", str(finished_run), "-o", str(tmp_path / name)]) == 2
        assert "ends in .png, .svg, .pdf" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_one_line(finished_run, tmp_path, capsys):
    (tmp_path / "d.png").mkdir()
    for name in ("d.png", "nowhere/p.png", "p" * 300 + ".png"):
        assert main(["plot", str(finished_run), "-o", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert "cannot write" in error
        assert error.count("\n") == 1


def minilstm(*arguments, **environment):
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "minilstm", *map(str, arguments)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


RC_FILES = {
    "latex": "text.usetex: True",
    "font": "font.family: No Such Font\nfont.size: 30",
    "dark": "figure.facecolor: black\naxes.facecolor: black\ntext.color: white\nsavefig.dpi: 30\nsavefig.bbox: tight",
    "odd": "no.such.key: 3\nlines.linewidth: much\nbackend: nonsense\naxes.prop_cycle: cycler('color', ['r'])",
}


@pytest.mark.parametrize("name", RC_FILES)
def test_the_users_settings_do_not_change_a_picture(finished_run, tmp_path, name):
    plot_runs([finished_run], tmp_path / "ours.png")
    (tmp_path / "rc").write_text(RC_FILES[name])
    result = minilstm(
        *("plot", finished_run, "-o", tmp_path / "theirs.png"), MATPLOTLIBRC=str(tmp_path / "rc"), MPLBACKEND="nonsense"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "theirs.png").read_bytes() == (tmp_path / "ours.png").read_bytes()


def test_plotting_changes_no_settings(finished_run, tmp_path, monkeypatch):
    import matplotlib

    monkeypatch.setenv("MPLBACKEND", "svg")
    with matplotlib.rc_context({"font.size": 33, "text.usetex": True}):
        before = dict(matplotlib.rcParams), logging.getLogger("matplotlib").level, dict(os.environ)
        plot_runs([finished_run], tmp_path / "p.png")
        assert (dict(matplotlib.rcParams), logging.getLogger("matplotlib").level, dict(os.environ)) == before


BROKEN = {
    "missing": "raise ModuleNotFoundError(\"No module named 'matplotlib'\")",
    "library": "raise ImportError('libpng16.so.16: cannot open shared object file')",
    "numpy": "raise AttributeError('_ARRAY_API not found\\nA module that was compiled ...')",
    "incomplete": "rcParams, rcParamsDefault = {}, {}",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_picture_that_cannot_be_drawn_is_one_line_and_training_goes_on(finished_run, tmp_path, kind):
    package = tmp_path / "lib" / "matplotlib"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(BROKEN[kind])
    broken = {"PYTHONPATH": os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])}
    description = json.loads((finished_run / "config.json").read_text())
    command = ["train", "--data", description["data"], "--out", tmp_path / "r", *TINY, "--max-max-epoch", "3"]
    result = minilstm(*command, **broken)
    assert result.returncode == 0
    assert result.stderr.startswith("minilstm: cannot draw ")
    assert result.stderr.count("\n") == 1
    assert "Test Perplexity" in result.stdout
    assert [row["epoch"] for row in read_metrics(tmp_path / "r") if row["split"] == "valid"] == [1, 2, 3]
    result = minilstm("plot", tmp_path / "r", "-o", tmp_path / "p.png", **broken)
    assert result.returncode == 2
    assert result.stderr.startswith("minilstm: error: cannot draw ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "p.png").exists()


def test_matplotlib_is_imported_only_to_plot_and_with_the_users_backend(finished_run, tmp_path):
    code = (
        "import os, sys; from minilstm.cli import main; from minilstm.runs.plot import plot_runs; "
        f"status = main(['plot', {str(tmp_path / 'none')!r}]); print(status, 'matplotlib' in sys.modules); "
        f"plot_runs([{str(finished_run)!r}], {str(tmp_path / 'p.png')!r}); import matplotlib; "
        "print(matplotlib.rcParams['backend'], os.environ['MPLBACKEND'], 'matplotlib.pyplot' in sys.modules)"
    )
    environment = {**os.environ, "MPLBACKEND": "svg"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.stdout == "2 False\nsvg svg False\n"


@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 1e400])
@pytest.mark.parametrize("name", ["seed", "unit", "max_grad_norm", "hidden_size"])
def test_a_config_json_that_no_run_writes_is_no_bug(finished_run, tmp_path, capsys, name, value):
    one, other = runs_in(finished_run, tmp_path, "ab")
    changed(other, **{name: value})
    for flags in ([], ["--band"], ["--what", "perplexity,norm"]):
        status = main(["plot", str(one), str(other), *flags, "-o", str(tmp_path / "p.png")])
        assert status in (0, 2)
        assert capsys.readouterr().err.count("\n") <= 1


def test_the_speed_of_characters_is_that_of_characters(finished_run, tmp_path):
    run = with_rows(finished_run, tmp_path / "r", TRAIN, VALID)
    description = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(description | {"unit": "char"}))
    labels = [axes.get_ylabel() for axes in figure_of(run, panels=["perplexity", "speed"]).axes]
    assert labels == ["perplexity per character (log scale)", "speed\n(characters per second)"]


def test_best_epochs_that_differ_leave_their_tests_out_of_the_band_with_a_line(finished_run, tmp_path):
    best = "{0},{1},test,9,,,,5"
    runs = []
    for seed, epoch in ((0, 1), (1, 2)):
        rows = [
            TRAIN,
            VALID,
            "2,14,valid,10,,,,5",
            best.format(epoch, 7 * epoch),
            "3,21,valid,12,,,,5",
            "3,21,test,11,,,,5",
        ]
        run = with_rows(finished_run, tmp_path / f"r{seed}", *rows)
        description = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps(description | {"seed": seed}))
        runs.append(run)
    notes = plot_runs(runs, tmp_path / "p.png", band=True)
    assert notes == ["without the test perplexities of the best epochs, which differ between these runs"]
