"""The benchmarks of the ideas after 2014: what they refuse, and that they do not take other runs for theirs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ablation import folder_of, require_ours, runs
from minilstm.errors import UserError

ROOT = Path(__file__).parents[1]
TOY = ROOT / "data/toy"


def run(*command):
    """Run a module of the project; returns its status and what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--jobs", "0"], "'0' is not a whole number of at least 1"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--work", "{}/README.md/work"], "Not a directory"),
        (["--out", "{}/README.md/out"], "Not a directory"),
    ],
)
def test_bad_input_gets_one_line_before_anything_runs(tmp_path, flags, words):
    given = [flag.format(ROOT) for flag in flags]
    status, _, errors = run("benchmarks.ablation", "--data", TOY, "--work", tmp_path / "work", *given)
    assert status == 2
    assert words in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("work/*"))


def test_runs_of_another_text_or_other_flags_are_refused(tmp_path):
    name, flags = next(iter(runs().items()))
    train = ["minilstm", "train", "--threads", 1, "--max-steps", 1, "--out", folder_of(name, tmp_path)]
    assert run(*train, *flags.split(), "--data", TOY)[0] == 0
    require_ours(runs(), tmp_path, TOY)
    text = tmp_path / "text.txt"
    text.write_text("the cat sat\n" * 500)
    with pytest.raises(UserError, match="is not this run of"):
        require_ours(runs(), tmp_path, text)
    assert run(*train, *flags.split(), "--data", TOY, "--hidden-size", 8, "--overwrite")[0] == 0
    with pytest.raises(UserError, match="is not this run of"):
        require_ours(runs(), tmp_path, TOY)


def test_values_are_chosen_on_the_beginning_of_validation_and_kept(tmp_path):
    assert run("minilstm", "train", "--max-max-epoch", 1, "--hidden-size", 8, "--out", tmp_path / "toy")[0] == 0
    command = ["benchmarks.adaptation", tmp_path / "toy", "--data", TOY, "--first", 300, "--out", tmp_path]
    status, _, errors = run(*command)
    assert status == 0, errors
    result = json.loads((tmp_path / "adaptation-toy.json").read_text())
    alone, cache, dynamic = result["rows"]
    for row, kind in ((cache, "theta"), (dynamic, "rate")):
        trials = [trial for trial in result["trials"] if kind in trial["values"]]
        assert row["valid"] == min(trial["perplexity"] for trial in trials)
    assert alone["values"] == {}
    assert result["words"] == 300
    for name, flags in (
        ("nothing", []),
        (".", []),
        ("toy", ["--out", ROOT / "README.md/out"]),
        ("toy", ["--first", 1]),
    ):
        status, _, errors = run("benchmarks.adaptation", tmp_path / name, "--data", TOY, *flags)
        assert status == 2
        assert len(errors.splitlines()) == 1
