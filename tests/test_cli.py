"""The command line: every user error gives one clear line and exit status 2, and loses nothing."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from minilstm.cli import build_parser, main

TINY = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def finished_run(shared_corpus_dir, tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "--data", str(shared_corpus_dir), "--out", str(run), *TINY]) == 0
    return run


@pytest.fixture
def run(finished_run, shared_corpus_dir, corpus_dir, tmp_path):
    """A finished run of the test's own corpus: trained once, and copied with the name of its text changed."""
    run = shutil.copytree(finished_run, tmp_path / "run")
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace(str(shared_corpus_dir), str(corpus_dir)))
    return run


def complaint(capsys, arguments):
    """The single line of error that a wrong command prints."""
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2, captured
    lines = captured.err.strip().split("\n")
    assert len(lines) == 1, captured.err
    assert "error: " in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--num-steps", "0"], "--num-steps must be at least 1"),
        (["--keep-prob", "1.5"], "--keep-prob must be at most 1"),
        (["--keep-prob", "0"], "--keep-prob must be greater than 0"),
        (["--learning-rate", "nan"], "--learning-rate must be a finite number"),
        (["--learning-rate", "-1"], "--learning-rate must be greater than 0"),
        (["--hidden-size", "2.5"], "--hidden-size"),
        (["--batch-size", "100000"], "lower --batch-size, or lower --num-steps"),
        (["--dtype", "int8"], "--dtype"),
        (["--model", "huge"], "--model"),
        (["--max-steps", "-1"], "--max-steps"),
        (["--checkpoint-every", "0"], "--checkpoint-every"),
        (["--resume"], "--resume needs --out"),
        (["--data", "/nowhere"], "/nowhere does not exist"),
        (["--speed", "9"], "--speed"),
    ],
)
def test_wrong_flags_of_train_are_one_line(capsys, corpus_dir, tmp_path, monkeypatch, flags, says):
    monkeypatch.chdir(tmp_path)
    assert says in complaint(capsys, ["train", "--data", str(corpus_dir), *flags])
    assert not (tmp_path / "runs").exists()


def test_cuda_without_a_gpu_is_one_line(capsys):
    try:
        import cupy

        cupy.zeros(1)
        pytest.skip("there is a GPU here")
    except Exception:
        assert "--device cuda: CuPy" in complaint(capsys, ["train", "--device", "cuda"])


@pytest.mark.parametrize("command", ["train", "evaluate", "generate", "gradcheck"])
def test_fused_kernels_without_a_gpu_are_one_line(capsys, run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    arguments = [command, str(run)] if command in ("evaluate", "generate") else [command]
    before = sorted(tmp_path.iterdir())
    line = complaint(capsys, [*arguments, "--kernels", "fused", "--device", "cpu"])
    assert "the fused kernels need a GPU; use the plain kernels" in line
    assert sorted(tmp_path.iterdir()) == before


def test_the_plain_kernels_are_those_of_a_cpu(corpus_dir, tmp_path):
    for name, flags in (("one", []), ("other", ["--kernels", "plain"])):
        assert main(["train", "--data", str(corpus_dir), "--out", str(tmp_path / name), *TINY, *flags]) == 0
    one, other = ((tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other


def test_a_short_validation_text_is_found_before_training(capsys, corpus_dir, tmp_path):
    (corpus_dir / "valid.txt").write_text("a b\n")
    assert "valid text has 3 tokens" in complaint(
        capsys, ["train", "--data", str(corpus_dir), "--out", str(tmp_path / "r")]
    )
    assert not (tmp_path / "r").exists()


def test_an_output_directory_that_is_taken_or_cannot_be_written_is_refused(capsys, corpus_dir, run, tmp_path):
    train = ["train", "--data", str(corpus_dir), *TINY]
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert "already contains a run; use --resume" in complaint(capsys, [*train, "--out", str(run)])
    assert "--keep-prob" in complaint(capsys, [*train, "--out", str(run), "--overwrite", "--keep-prob", "2"])
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert "cannot write" in complaint(capsys, [*train, "--out", str(run / "vocab.txt" / "x")])
    assert "cannot write" in complaint(capsys, [*train, "--out", str(run / "vocab.txt")])
    assert "contains other files" in complaint(capsys, [*train, "--out", str(corpus_dir), "--overwrite"])


def test_overwrite_replaces_a_run_and_nothing_else(corpus_dir, run):
    (run / "notes.txt").write_text("mine")
    assert main(["train", "--data", str(corpus_dir), "--out", str(run), "--overwrite", "--seed", "5", *TINY]) == 0
    assert (run / "notes.txt").read_text() == "mine"


def test_resuming_as_something_else_is_refused(capsys, corpus_dir, run, tmp_path):
    resume = ["train", "--resume", "--out", str(run)]
    assert "--hidden-size 4; omit --hidden-size" in complaint(capsys, [*resume, "--hidden-size", "5"])
    assert "--model toy" in complaint(capsys, [*resume, "--model", "small"])
    assert "not the directory of a minilstm run" in complaint(capsys, ["train", "--resume", "--out", str(tmp_path)])
    text = (corpus_dir / "train.txt").read_text()
    (corpus_dir / "train.txt").write_text(text + "k l m\n")
    assert "a vocabulary other than" in complaint(capsys, resume)


def test_a_damaged_run_is_refused_by_every_command(capsys, run):
    path = run / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    for command in (["train", "--resume", "--out"], ["evaluate"], ["generate"]):
        assert "cannot be read" in complaint(capsys, [*command, str(run)])
    path.unlink()
    assert "does not exist" in complaint(capsys, ["evaluate", str(run)])
    (run / "config.json").write_text("{")
    for command in ("evaluate", "generate", "plot"):
        assert "config.json" in complaint(capsys, [command, str(run)])
    assert "not the directory of a minilstm run" in complaint(capsys, ["evaluate", str(run / "nowhere")])


def test_a_run_killed_before_its_first_checkpoint_resumes_from_the_start(corpus_dir, run, tmp_path):
    finished = (run / "checkpoint.safetensors").read_bytes()
    (run / "checkpoint.safetensors").unlink()
    (run / "metrics.csv").write_text((run / "metrics.csv").read_text().split("\n")[0] + "\n")
    assert main(["train", "--resume", "--device", "cpu", "--out", str(run)]) == 0
    assert (run / "checkpoint.safetensors").read_bytes() == finished


def test_a_run_that_lost_its_checkpoint_is_not_begun_again_unasked(capsys, run):
    before = (run / "metrics.csv").read_text()
    (run / "checkpoint.safetensors").unlink()
    assert "is missing; restore it" in complaint(capsys, ["train", "--resume", "--out", str(run)])
    assert (run / "metrics.csv").read_text() == before


def test_divergence_names_the_step_and_the_cure_and_keeps_the_last_checkpoint(capsys, corpus_dir, tmp_path):
    run = tmp_path / "run"
    flags = ["--learning-rate", "1e30", "--max-grad-norm", "1e30"]
    line = complaint(capsys, ["train", "--data", str(corpus_dir), "--out", str(run), *TINY, *flags])
    assert "diverged at step " in line
    assert "lower --learning-rate" in line
    assert main(["evaluate", str(run)]) == 0


def test_evaluate_prints_the_perplexity_that_training_did(capsys, corpus_dir, tmp_path):
    assert main(["train", "--data", str(corpus_dir), "--out", str(tmp_path / "r"), *TINY]) == 0
    trained = [line for line in capsys.readouterr().out.split("\n") if line.startswith("Test Perplexity")]
    assert main(["evaluate", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().out.split("\n")[0] == trained[0]
    assert main(["evaluate", str(tmp_path / "r"), "--split", "valid"]) == 0
    assert capsys.readouterr().out.startswith("Valid Perplexity: ")


def test_evaluate_refuses_a_corpus_with_unknown_words_where_no_unk_is_known(capsys, run):
    from minilstm.text.corpus import toy_directory

    complain = complaint(capsys, ["evaluate", str(run), "--data", str(toy_directory())])
    assert "is not in the training vocabulary, which has no <unk>" in complain


def test_generate_repeats_itself_for_one_seed_and_goes_on_from_the_prompt(capsys, run):
    def text(*flags):
        assert main(["generate", str(run), "--words", "30", *flags]) == 0
        return capsys.readouterr().out

    assert text() == text()
    assert text() != text("--seed", "1")
    assert text("--prompt", "a b").startswith("a b ")
    assert text("--temperature", "0") == text("--temperature", "0", "--seed", "1")
    assert len(text("--temperature", "1.3").replace("\n", " <eos> ").split()) in (30, 31)


def test_generate_says_what_it_cannot_do(capsys, run, corpus_dir, tmp_path):
    assert "does not know 'zebra'" in complaint(capsys, ["generate", str(run), "--prompt", "a zebra"])
    for temperature in ("-1", "nan"):
        generate = ["generate", str(run), "--temperature", temperature]
        assert "temperature must be a number of at least 0" in complaint(capsys, generate)
    unk = tmp_path / "unk"
    assert main(["train", "--data", str(corpus_dir), "--out", str(unk), "--min-count", "2", *TINY]) == 0
    capsys.readouterr()
    assert main(["generate", str(unk), "--prompt", "a zebra", "--words", "3"]) == 0
    assert "reads 'zebra' as <unk>" in capsys.readouterr().err


def test_plot_draws_one_run_or_several(capsys, run, tmp_path):
    for name in ("one.png", "two.svg"):
        output = tmp_path / name
        runs = [str(run)] * (1 if name == "one.png" else 2)
        assert main(["plot", *runs, "-o", str(output)]) == 0
        assert output.stat().st_size > 5000
    assert "given twice" in capsys.readouterr().err
    assert "ends in .png" in complaint(capsys, ["plot", str(run), "-o", "curves.xyz"])
    assert "cannot write" in complaint(capsys, ["plot", str(run), "-o", str(run / "vocab.txt" / "x.png")])


def test_gradcheck_prints_a_table_and_exits_1_when_a_gradient_is_wrong(capsys, monkeypatch):
    assert main(["gradcheck", "--device", "cpu"]) == 0
    assert "all gradients agree" in capsys.readouterr().out
    monkeypatch.setattr("minilstm.plain.dropout_backward", lambda doutputs, mask: doutputs)
    assert main(["gradcheck", "--device", "cpu"]) == 1
    out = capsys.readouterr().out
    assert "GRADIENTS ARE WRONG" in out
    wrong = [line[:16].strip() for line in out.splitlines() if line.endswith("WRONG")]
    assert wrong[0] == "dropout"
    assert set(wrong[1:]) == {"model, 2 layers", "AWD-LSTM"}  # which have dropout in them; the other layers are right


def test_every_command_has_help_with_an_example():
    for command in ("train", "evaluate", "generate", "plot", "download", "gradcheck"):
        result = subprocess.run(
            [sys.executable, "-m", "minilstm", command, "--help"], capture_output=True, text=True, check=True
        )
        assert f"example: minilstm {command}" in result.stdout
    assert build_parser().prog == "minilstm"


def test_output_into_head_ends_quietly(run):
    process = subprocess.Popen(
        [sys.executable, "-m", "minilstm", "generate", str(run), "--words", "20000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.slow
def test_a_model_too_big_for_the_memory_is_one_line_and_leaves_nothing(capsys, tmp_path):
    assert "out of memory" in complaint(capsys, ["train", "--hidden-size", "100000000", "--out", str(tmp_path / "r")])
    assert not (tmp_path / "r").exists()


def test_resuming_on_another_text_or_for_fewer_epochs_than_are_done_is_refused(capsys, corpus_dir, run):
    resume = ["train", "--resume", "--out", str(run)]
    assert main([*resume, "--max-max-epoch", "2"]) == 0
    capsys.readouterr()
    assert "already has 2 epochs" in complaint(capsys, [*resume, "--max-max-epoch", "1"])
    for split, changed in (("test", "test"), ("valid", "valid and test"), ("train", "train and valid and test")):
        lines = (corpus_dir / f"{split}.txt").read_text().splitlines(keepends=True)
        (corpus_dir / f"{split}.txt").write_text("".join(reversed(lines)))
        assert f"the {changed} text of {corpus_dir} is not that of {run}; restore it" in complaint(capsys, resume)


def test_evaluating_a_text_that_has_changed_since_is_said(capsys, corpus_dir, run, tmp_path):
    assert main(["evaluate", str(run)]) == 0
    assert "has changed" not in capsys.readouterr().err
    lines = (corpus_dir / "test.txt").read_text().splitlines(keepends=True)
    (corpus_dir / "test.txt").write_text("".join(reversed(lines)))
    assert main(["evaluate", str(run)]) == 0
    assert f"the test text has changed since {run} was trained" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--split", "valid"]) == 0
    shutil.copytree(corpus_dir, tmp_path / "copy")
    assert main(["evaluate", str(run), "--data", str(tmp_path / "copy")]) == 0  # another text
    assert "has changed" not in capsys.readouterr().err
    assert main(["evaluate", str(run), "--data", str(corpus_dir)]) == 0
    assert f"the test text has changed since {run} was trained" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_with_the_fingerprint_of_its_training_text_alone_is_resumed(capsys, run):
    description = json.loads((run / "config.json").read_text())
    description["text"] = description["text"]["train"]
    (run / "config.json").write_text(json.dumps(description))
    assert main(["train", "--resume", "--out", str(run), "--max-max-epoch", "2"]) == 0


def test_resuming_with_a_damaged_vocabulary_is_refused(capsys, run):
    words = (run / "vocab.txt").read_text()
    (run / "vocab.txt").write_text(words.replace("a\n", "z\n"))
    complain = complaint(capsys, ["train", "--resume", "--out", str(run), "--max-max-epoch", "5"])
    assert "vocab.txt is not what the run wrote" in complain
    for damaged in (words + "more\n", words.removesuffix("\n"), words.partition("\n")[2], ""):
        (run / "vocab.txt").write_text(damaged)
        for command in (["generate"], ["evaluate"], ["train", "--max-max-epoch", "5", "--resume", "--out"]):
            assert re.search(
                r"vocab.txt has \d+ whole lines, but the model 11 words", complaint(capsys, [*command, str(run)])
            )


def test_max_steps_that_are_done_already_train_no_more(corpus_dir, tmp_path):
    train = ["train", "--data", str(corpus_dir), "--out", str(tmp_path / "r"), *TINY]
    assert main([*train, "--max-steps", "9"]) == 0
    before = (tmp_path / "r/checkpoint.safetensors").read_bytes()
    assert main(["train", "--resume", "--out", str(tmp_path / "r"), "--max-steps", "5"]) == 0
    assert (tmp_path / "r/checkpoint.safetensors").read_bytes() == before


def test_the_toy_language_with_rare_words_replaced_has_no_floor(capsys, tmp_path):
    assert main(["train", "--min-count", "5", "--max-steps", "0", "--out", str(tmp_path / "r"), "--device", "cpu"]) == 0
    assert "Floor" not in capsys.readouterr().out
