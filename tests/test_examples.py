"""examples/min_lstm.py as a script, and its gradient check, which must detect every wrong line of the backward pass."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MIN_LSTM = Path(__file__).parents[1] / "examples" / "min_lstm.py"


def run(*arguments, script=MIN_LSTM):
    return subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_min_lstm_checks_its_gradients_learns_and_writes():
    result = run("--steps", 200)
    assert (result.returncode, result.stderr) == (0, "")
    first_line, *lines = result.stdout.splitlines()
    assert float(re.fullmatch(r"gradients: worst relative error (\S+)", first_line).group(1)) < 1e-9
    perplexities = [float(match.group(1)) for line in lines if (match := re.match(r"step .* perplexity +(\S+)", line))]
    assert len(perplexities) == 2
    assert perplexities[1] < 6  # from about 60 equally likely characters
    assert perplexities[1] < perplexities[0] / 2
    sample = result.stdout.split(lines[1] + "\n")[1]
    assert len(sample) == 501  # 500 characters and print's newline
    assert " the " in sample


def test_min_lstm_reads_a_given_text(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("größer ist nicht besser. " * 100, encoding="utf-8")
    result = run(text, "--steps", 0)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") >= 2


MUTATIONS = {
    "softmax": ("(p - target)", "(p + target)"),
    "batch mean": ("(p - target) / len(p)", "(p - target)"),
    "W_out": ('grads["W_out"] += ds', 'grads["W_out"] -= ds'),
    "b_out": ('grads["b_out"] += ds', 'grads["b_out"] -= ds'),
    "dh from the logits": ('ds @ params["W_out"] + dh_next', 'dh_next - ds @ params["W_out"]'),
    "dh_next": ("+ dh_next", "- dh_next"),
    "do": ("do = dh * np.tanh(c)", "do = -dh * np.tanh(c)"),
    "tanh'": ("(1 - np.tanh(c) ** 2)", "(1 + np.tanh(c) ** 2)"),
    "dc_next": ("+ dc_next", "- dc_next"),
    "di": ("dc * g, dc", "-dc * g, dc"),
    "df": ("dc * c_prev", "-dc * c_prev"),
    "dg": ("dc * i, dc", "-dc * i, dc"),
    "dc_prev": ("dc * f  #", "-dc * f  #"),
    "sigmoid' of i": ("di * i * (1 - i)", "di * i * (1 + i)"),
    "sigmoid' of f": ("df * f * (1 - f)", "df * f * (1 + f)"),
    "tanh' of g": ("dg * (1 - g**2)", "dg * (1 + g**2)"),
    "sigmoid' of o": ("do * o * (1 - o)", "do * o * (1 + o)"),
    "W_ih": ('grads["W_ih"] += dz', 'grads["W_ih"] -= dz'),
    "W_hh": ('grads["W_hh"] += dz', 'grads["W_hh"] -= dz'),
    "b": ('grads["b"] += dz', 'grads["b"] -= dz'),
    "dh_prev": ('return dz @ params["W_hh"]', 'return -dz @ params["W_hh"]'),
}


def mutate(name, path):
    """A copy of the script with one wrong term in step_backward."""
    old, new = MUTATIONS[name]
    source = MIN_LSTM.read_text()
    assert source.count(old) == 1, f"{old!r} is not found once in {MIN_LSTM.name}"
    path.write_text(source.replace(old, new))
    return path


@pytest.mark.parametrize("name", MUTATIONS)
def test_gradient_check_of_min_lstm_sees_a_wrong_term(name, tmp_path):
    namespace = runpy.run_path(str(mutate(name, tmp_path / "wrong.py")))
    assert namespace["check_gradients"](np.random.default_rng(0), V=3, H=2) > 1e-3


def test_min_lstm_stops_at_a_wrong_gradient(tmp_path):
    result = run(Path(__file__), script=mutate("dc_next", tmp_path / "wrong.py"))
    assert result.returncode == 1
    assert result.stdout.startswith("gradients: worst relative error ")
    assert result.stdout.count("\n") == 1  # nothing was trained
    assert result.stderr == "min_lstm.py: a gradient is wrong\n"


def test_min_lstm_wants_a_text_that_fills_one_window(tmp_path):
    short, binary = tmp_path / "short.txt", tmp_path / "binary.txt"
    short.write_text("a" * 1055)
    binary.write_bytes(b"caf\xe9 " * 1000)
    for path, why in (
        (short, f"{short} has fewer than 1056 characters"),
        (binary, f"cannot read {binary} as UTF-8 text: "),
        (tmp_path / "missing.txt", f"cannot read {tmp_path / 'missing.txt'} as UTF-8 text: "),
        (tmp_path, f"cannot read {tmp_path} as UTF-8 text: "),
    ):
        result = run(path)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"min_lstm.py: {why}")
        assert result.stderr.count("\n") == 1
    short.write_text("ab" * 528)
    assert run(short, "--steps", 2).returncode == 0
