"""Runs as a table: what is in its cells, what is left empty, and what is refused."""

import csv
import io
import json
import re
import shutil
from dataclasses import asdict, fields

import pytest

from minilstm.cli import main
from minilstm.config import PRESETS, Config
from minilstm.evaluate import format_perplexity
from minilstm.runs.compare import RESULTS
from minilstm.runs.directory import COLUMNS, read_metrics

TINY = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "2", "--device", "cpu"]
MARKDOWN_RESULTS = ["time" if column == "seconds" else column for column in RESULTS]


def train(run, *flags):
    assert main(["train", "--out", str(run), *TINY, *flags]) == 0
    return run


@pytest.fixture(scope="module")
def finished(shared_corpus_dir, tmp_path_factory):
    """A finished run of two epochs, not to be changed."""
    return train(tmp_path_factory.mktemp("finished") / "one", "--data", str(shared_corpus_dir))


@pytest.fixture(scope="module")
def other(shared_corpus_dir, tmp_path_factory):
    """A finished run of another size and seed, not to be changed."""
    flags = ["--hidden-size", "6", "--seed", "3", "--lr-on-plateau"]
    return train(tmp_path_factory.mktemp("other") / "two", "--data", str(shared_corpus_dir), *flags)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "copy")


def compare(capsys, *arguments):
    """What is printed: the table, and the notes."""
    capsys.readouterr()
    assert main(["compare", *map(str, arguments)]) == 0
    return capsys.readouterr()


def parse_markdown(text):
    """The rows of a Markdown table: column -> cell. All its lines have the same length."""
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1
    heading, rule, *rows = [
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
    ]
    assert all(re.fullmatch("--+[-:]", cell) for cell in rule)
    return [dict(zip(heading, row, strict=True)) for row in rows]


def table(capsys, *runs):
    return parse_markdown(compare(capsys, *runs).out)


def csv_table(capsys, *runs):
    return list(csv.DictReader(io.StringIO(compare(capsys, "--format", "csv", *runs).out)))


def with_rows(run, *rows):
    """The same run with other rows in its metrics.csv."""
    (run / "metrics.csv").write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    return run


def described(run, **entries):
    """The same run with other entries in its config.json, and without a checkpoint, which would not match."""
    (run / "checkpoint.safetensors").unlink(missing_ok=True)
    (run / "config.json").write_text(json.dumps(json.loads((run / "config.json").read_text()) | entries))
    return run


def complaint(capsys, *arguments):
    capsys.readouterr()
    assert main(["compare", *map(str, arguments)]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("minilstm: error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.slow
def test_two_runs_with_the_numbers_that_their_training_printed(capsys, corpus_dir, tmp_path):
    said = {}
    for name, hidden_size in (("a", "4"), ("b", "11")):
        capsys.readouterr()
        train(tmp_path / name, "--data", str(corpus_dir), "--hidden-size", hidden_size)
        said[name] = capsys.readouterr().out
    rows = table(capsys, tmp_path / "b", tmp_path / "a")
    assert [row["run"] for row in rows] == ["b", "a"]  # in the order of the arguments
    assert list(rows[0]) == ["run", "hidden-size", *MARKDOWN_RESULTS]
    assert [row["hidden-size"] for row in rows] == ["11", "4"]
    for row in rows:
        out = said[row["run"]]
        assert row["parameters"] == re.search(r"([\d,]+) parameters", out)[1]
        assert row["epochs"] == "2"
        for split in ("Train", "Valid"):
            assert row[split.lower()] == re.search(rf"Epoch: 2 {split} Perplexity: (.*)", out)[1]
        assert row["test"] == re.search("^Test Perplexity: (.*)", out, re.MULTILINE)[1]
        assert row["best valid"] == re.search(rf"Epoch: {row['best epoch']} Valid Perplexity: (.*)", out)[1]


def test_csv_has_the_digits_of_metrics_csv(capsys, finished, other):
    rows = csv_table(capsys, finished, other)
    assert list(rows[0]) == ["run", "hidden-size", "lr-on-plateau", "seed", *RESULTS]
    assert [row["lr-on-plateau"] for row in rows] == ["false", "true"]
    assert [row["seed"] for row in rows] == ["0", "3"]
    for row, run in zip(rows, (finished, other), strict=True):
        metrics = read_metrics(run)
        for split in ("train", "valid", "test"):
            assert float(row[split]) == [r["perplexity"] for r in metrics if r["split"] == split][-1]
        assert float(row["best valid"]) == min(r["perplexity"] for r in metrics if r["split"] == "valid")
    ends = [r for r in read_metrics(finished) if r["split"] == "train" and r["step"] % 99 == 0]
    assert len(ends) == 2
    assert float(rows[0]["seconds"]) == sum(r["tokens"] / r["words_per_second"] for r in ends)


def test_every_hyperparameter_in_which_runs_differ_is_a_column_and_no_other(capsys, finished, tmp_path):
    configs = {name: asdict(config) for name, config in PRESETS.items()}
    runs = {name: described(shutil.copytree(finished, tmp_path / name), **configs[name]) for name in configs}
    for name, config in configs.items():
        differing = [field for field, value in config.items() if value != configs["toy"][field]]
        rows = csv_table(capsys, runs["toy"], runs[name]) if name != "toy" else csv_table(capsys, runs["toy"])
        assert list(rows[0]) == ["run", *[field.replace("_", "-") for field in differing], *RESULTS]
        for field in differing:
            value = config[field]
            shown = str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")
            assert rows[1][field.replace("_", "-")] == shown


def test_no_hyperparameter_has_the_name_of_another_column():
    assert not {f.name.replace("_", "-") for f in fields(Config)} & {*RESULTS, "time", "run", "text", "init-from"}


def test_the_best_epoch_and_the_tests_are_those_of_their_epochs(capsys, copy):
    rows = ["1,5,train,12,1,100,1,50", "1,10,train,11,1,200,1,100"]
    rows += ["1,10,valid,11,,,,5", "2,20,train,9,1,50,1,100", "2,20,valid,10,,,,5"]
    rows += ["3,30,train,8,1,25,1,100", "3,30,valid,10,,,,5", "4,35,train,7,1,25,1,50"]
    (row,) = csv_table(capsys, with_rows(copy, *rows))
    parameters = row["parameters"]
    assert [*row.values()] == ["copy", "3", parameters, "6.5", "8", "10", "", "2", "10", ""]  # of three, the first best
    (row,) = csv_table(capsys, with_rows(copy, *rows[:-1], "2,20,test,13,,,,5", "3,30,test,14,,,,5"))
    assert [*row.values()] == ["copy", "3", parameters, "6.5", "8", "10", "14", "2", "10", "13"]
    (row,) = table(capsys, copy)
    expected = ["3", f"{int(parameters):,}", "6.50 s", "8.000", "10.000", "14.000", "2", "10.000", "13.000"]
    assert [*row.values()] == ["copy", *expected]


def test_an_unfinished_run_is_shown_with_what_it_has(capsys, corpus_dir, finished, tmp_path):
    begun = train(tmp_path / "begun", "--data", str(corpus_dir), "--max-steps", "30")
    half = train(tmp_path / "half", "--data", str(corpus_dir), "--max-steps", "150")
    printed = compare(capsys, begun, half, finished)
    assert printed.err == f"minilstm: without results, because no epoch is finished yet: {begun}\n"
    first, second, third = parse_markdown(printed.out)
    assert {column for column, cell in first.items() if cell} == {"run", "epochs", "parameters"}
    assert {column for column, cell in second.items() if not cell} == {"test", "best test"}
    assert [row["epochs"] for row in (first, second, third)] == ["0", "1", "2"]
    assert first["parameters"] == second["parameters"] == third["parameters"]
    assert all(third.values())


def test_what_the_files_do_not_say_is_left_empty(capsys, copy):
    lines = (copy / "metrics.csv").read_text().splitlines()
    (copy / "metrics.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))  # without tokens
    (row,) = table(capsys, copy)
    assert [column for column, cell in row.items() if not cell] == ["time"]
    (copy / "checkpoint.safetensors").unlink()
    (row,) = table(capsys, copy)
    assert [column for column, cell in row.items() if not cell] == ["parameters", "time"]
    with_rows(copy, "1,10,train,11,1,0,1,100", "1,10,valid,11,,,,5")  # no speed
    assert table(capsys, copy)[0]["time"] == ""
    with_rows(copy, "1,10,train,11,1,5e-324,1,100", "1,10,valid,11,,,,5")
    assert table(capsys, copy)[0]["time"] == ""


def test_hyperparameters_are_those_that_the_run_was_resumed_with(capsys, finished, copy):
    assert main(["train", "--resume", "--out", str(copy), "--max-max-epoch", "3", "--device", "cpu"]) == 0
    assert [row["max-max-epoch"] for row in table(capsys, finished, copy)] == ["2", "3"]


def test_a_run_that_is_given_twice_is_shown_once(capsys, finished, tmp_path):
    (tmp_path / "link").symlink_to(finished)
    printed = compare(capsys, finished, tmp_path / "link")
    assert printed.err == f"minilstm: {tmp_path / 'link'} is given twice; it is shown once\n"
    assert len(parse_markdown(printed.out)) == 1


@pytest.mark.slow
def test_different_texts_are_a_column_and_a_note(capsys, finished, shared_corpus_dir, tmp_path):
    same = shutil.copytree(shared_corpus_dir, tmp_path / "elsewhere")
    again = train(tmp_path / "again", "--data", str(same))
    printed = compare(capsys, finished, again)
    assert printed.err == ""
    assert "text" not in parse_markdown(printed.out)[0]

    toy = train(tmp_path / "toy", "--max-steps", "1")
    printed = compare(capsys, finished, toy)
    assert "perplexities of different texts or vocabularies cannot be compared; see the column text\n" in printed.err
    assert [row["text"] for row in parse_markdown(printed.out)] == ["corpus", "toy (embedded)"]
    marks = [row["text"] for row in table(capsys, finished, again, toy)]
    assert [name.split()[0] for name in marks] == ["corpus", "elsewhere", "toy"]
    assert marks[0].split()[1:] == marks[1].split()[1:] != []  # not two texts, although they have two names

    test = (same / "test.txt").read_text().splitlines(keepends=True)
    (same / "test.txt").write_text("".join(reversed(test)))
    changed = train(tmp_path / "changed", "--data", str(same))
    rows = table(capsys, again, changed)
    digests = [json.loads((run / "config.json").read_text())["text"]["test"][:8] for run in (again, changed)]
    assert [row["text"] for row in rows] == [f"elsewhere {digest}" for digest in digests]


def test_a_run_of_an_earlier_version_with_the_fingerprint_of_its_training_text_alone_has_the_same_text(
    capsys, finished, copy
):
    text = json.loads((copy / "config.json").read_text())["text"]["train"]
    described(copy, text=text)
    assert "text" not in table(capsys, finished, copy)[0]


@pytest.mark.slow
def test_characters_are_shown_with_their_bits_and_not_compared_with_words(capsys, finished, tmp_path, corpus_dir):
    run = train(tmp_path / "chars", "--data", str(corpus_dir), "--unit", "char")
    printed = compare(capsys, finished, run)
    assert printed.err == "minilstm: perplexities per char and per word cannot be compared\n"
    words, characters = parse_markdown(printed.out)
    assert (words["unit"], characters["unit"]) == ("word", "char")
    assert words["text"] != characters["text"]
    results = {row["split"]: row["perplexity"] for row in read_metrics(run)}
    for split in ("train", "valid", "test"):
        assert re.fullmatch(r"\d+\.\d{3}", words[split])
        assert characters[split].replace(" bits", " bits per character") == format_perplexity(results[split], "char")
    assert float(csv_table(capsys, run)[0]["test"]) == results["test"]


def test_the_weights_that_a_run_was_started_from_are_a_column(capsys, finished, other, tmp_path):
    one = train(tmp_path / "from-one", "--init-from", str(finished), "--max-steps", "1")
    flags = ["--init-from", str(other), "--hidden-size", "6", "--max-steps", "1"]
    two = train(tmp_path / "from-two", *flags)
    shutil.copytree(one, tmp_path / "again")
    rows = table(capsys, finished, one, two)
    assert [row["init-from"] for row in rows] == ["", "one/checkpoint.safetensors", "two/checkpoint.safetensors"]
    assert "init-from" not in table(capsys, one, tmp_path / "again")[0]


def test_names_are_distinct_and_cannot_break_the_table(capsys, copy, finished, tmp_path):
    names = ['a|b, "c"', "\x1b[31mred\nline", "deep/copy"]
    runs = [shutil.copytree(finished, tmp_path / name) for name in names]
    shown = ['a|b, "c"', r"\x1b[31mred\x0aline", "deep/copy", f"{tmp_path.name}/copy"]
    printed = compare(capsys, *runs, copy)
    assert [row["run"] for row in parse_markdown(printed.out)] == shown
    assert "\x1b" not in printed.out
    assert [row["run"] for row in csv_table(capsys, *runs, copy)] == shown


def damage(name, contents):
    def write(run):
        (run / name).write_bytes(contents)

    return write


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: (run / "config.json").unlink(), "is not the directory of a minilstm run"),
        (damage("config.json", b"{"), "config.json is damaged"),
        (lambda run: described(run, hidden_size=-1), "config.json was not written by this version"),
        (lambda run: described(run, colour="red"), "config.json was not written by this version"),
        (lambda run: (run / "metrics.csv").unlink(), "cannot read"),
        (damage("metrics.csv", b""), "does not have the columns"),
        (damage("checkpoint.safetensors", b"x" * 100), "checkpoint.safetensors cannot be read"),
        (lambda run: with_rows(run, "1,10,valid,-1,,,,5"), "line 2 is not a valid row"),
        (lambda run: with_rows(run, "1,10,valid,9,,,,5"), "does not have a train and a valid row for each epoch"),
        (lambda run: with_rows(run, "1,9,train,9,1,9,1,5", "1,10,valid,9,,,,5"), "a train and a valid row"),
        (lambda run: with_rows(run, "2,20,train,9,1,9,1,5", "2,20,valid,9,,,,5"), "a train and a valid row"),
    ],
)
@pytest.mark.parametrize("style", ["markdown", "csv"])
def test_what_is_no_run_or_is_damaged_is_refused_in_one_line(capsys, finished, copy, change, says, style):
    change(copy)
    assert says in complaint(capsys, finished, copy, "--format", style)


def test_a_checkpoint_of_another_run_is_refused(capsys, copy, other):
    shutil.copy(other / "checkpoint.safetensors", copy)
    assert "config.json and checkpoint.safetensors are from different runs" in complaint(capsys, copy)


@pytest.mark.parametrize("text", [{"train": None}, {"train": [1], "test": {"a": 1}}, {"train": 1.5, "valid": "\x1b["}])
def test_fingerprints_that_are_none_do_no_harm(capsys, finished, copy, text):
    described(copy, text=text)
    printed = compare(capsys, finished, copy)
    assert "cannot be compared" in printed.err
    assert "\x1b" not in printed.out


def test_help_and_flags(capsys):
    assert main(["compare", "--help"]) == 0
    assert "example: minilstm compare runs/small" in capsys.readouterr().out
    assert main(["compare"]) == 2
    assert "required: run" in capsys.readouterr().err
    assert main(["compare", "x", "--format", "html"]) == 2
    assert "invalid choice: 'html'" in capsys.readouterr().err
