"""Unknown flags: the names that other programs use, and typing errors."""

import re

import pytest

from minilstm.cli import COMMANDS, build_parser, parse
from minilstm.flags import DROPOUT, MISSING, OTHER_NAMES, RUN, explain_unknown, plain_name

REQUIRED = {"train": [], "gradcheck": [], "download": ["ptb"]}  # the other commands take a run
NO_COUNTERPART = (
    "log-interval eval-every momentum nesterov verbose warmup beta1 onnx-export nhead model-type "
    "max-plateau test-every print-freq num-samples shuffle unk-token evaluate export"
)
ELSEWHERE = [*OTHER_NAMES.values(), *MISSING.values(), *DROPOUT.values(), RUN]


def complaint(capsys, command, *flags):
    """What is said about unknown flags, without the beginning and the end that are always the same."""
    with pytest.raises(SystemExit) as stop:
        parse([command, *REQUIRED.get(command, ["r"]), *flags])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    start, end = f"minilstm {command}: error: unknown: ", f" (see minilstm {command} --help)\n"
    assert line.startswith(start)
    assert line.endswith(end)
    return line.removeprefix(start).removesuffix(end)


@pytest.mark.parametrize(
    ("flags", "meant"),
    [
        ("--epochs 3", "--max-max-epoch"),
        ("--num_epochs 3", "--max-max-epoch"),
        ("--max-epochs 3", "--max-max-epoch (all epochs) or --max-epoch (those before the learning rate falls)"),
        ("--lr 20", "--learning-rate"),
        ("-lr 20", "--learning-rate"),
        ("--LR=20", "--learning-rate"),
        ("--learningRate 20", "--learning-rate"),
        ("--dropout 0.2", "--keep-prob 0.8"),
        ("--dropout=0.35", "--keep-prob 0.65"),
        ("-dropout .5", "--keep-prob 0.5"),
        ("--dropout 0", "--keep-prob 1"),
        ("--drop_out 1e-3", "--keep-prob 0.999"),
        ("--dropout 1", "--keep-prob (1 - dropout)"),
        ("--dropout 50", "--keep-prob (1 - dropout)"),
        ("--dropout nan", "--keep-prob (1 - dropout)"),
        ("--dropout often", "--keep-prob (1 - dropout)"),
        ("--dropout", "--keep-prob (1 - dropout)"),
        ("--clip 0.25", "--max-grad-norm"),
        ("--grad-clip 0.25", "--max-grad-norm"),
        ("--batch 3", "--batch-size"),
        ("--batch_size 3", "--batch-size"),
        ("--batchSize=3", "--batch-size"),
        ("--hidden 3", "--hidden-size"),
        ("-hidden 3", "--hidden-size"),
        ("--nhid 3", "--hidden-size"),
        ("--emsize 3", "--embedding-size"),
        ("--tied", "--tie-weights"),
        ("--wdecay 1.2e-6", "--weight-decay"),
        ("--nonmono 5", "--average-after"),
        ("--dropouti 0.4", "--input-keep-prob 0.6"),
        ("--dropouth 0.25", "--keep-prob 0.75"),
        ("--dropoute=0.1", "--embedding-keep-prob 0.9"),
        ("--wdrop 0.5", "--weight-keep-prob 0.5"),
        ("--wdrop much", "--weight-keep-prob (1 - dropout)"),
        ("--layers 3", "--num-layers"),
        ("--nlayers 3", "--num-layers"),
        ("--bptt 35", "--num-steps"),
        ("--cuda", "--device cuda"),
        ("--no-cuda", "--device cpu"),
        ("--data_path x", "--data"),
        ("--save x", "--out"),
        ("--save_path x", "--out"),
        ("--adam", "--optimizer adam"),
        ("--load x", "--resume --out"),
        ("--hiden-size 3", "--hidden-size"),
        ("--num-step 3", "--num-steps"),
        ("-seed 3", "--seed"),
        ("--max-grad 3", "--max-grad-norm"),
        ("--keep 0.5", "--keep-prob"),
    ],
)
def test_the_flag_that_is_meant_is_named(capsys, flags, meant):
    assert complaint(capsys, "train", *flags.split()) == f"{flags}; did you mean {meant}?"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--vocab-size 10000", "; the vocabulary follows from the text, and --min-count makes it smaller"),
        ("--vocab_size=10000", "; the vocabulary follows from the text, and --min-count makes it smaller"),
        ("--bidirectional", "; a language model reads in one direction"),
        ("--checkpoint x", ""),
        ("--foo", ""),
        ("--max 3", ""),  # begins two flags
        ("text.txt", "; did you mean --data text.txt?"),
    ],
)
def test_where_no_flag_is_meant_none_is_named(capsys, flags, says):
    assert complaint(capsys, "train", *flags.split()) == flags + says


@pytest.mark.parametrize("name", NO_COUNTERPART.split())
def test_flags_that_have_no_counterpart_in_training_are_not_answered_with_another_thing(capsys, name):
    assert complaint(capsys, "train", f"--{name}", "3") == f"--{name} 3"


def test_a_name_that_is_known_from_elsewhere_is_not_taken_for_a_typing_error():
    assert explain_unknown(["--epochs"], ["--epochs-per-day", "--epoch"]) == ""


def test_the_value_of_a_dropout_is_not_another_flag(capsys):
    assert complaint(capsys, "train", "--dropout", "--lr", "0.5").endswith(
        "; did you mean --keep-prob (1 - dropout) for --dropout, --learning-rate for --lr?"
    )


def test_several_unknown_flags_are_answered_one_by_one(capsys):
    flags = "--nhid 650 --bidir --tied --cuda --dropout 0.5 --foo --cuda"
    assert complaint(capsys, "train", *flags.split()) == (
        f"{flags}; --bidir: a language model reads in one direction; did you mean --hidden-size for --nhid, "
        "--tie-weights for --tied, --device cuda for --cuda, --keep-prob 0.5 for --dropout?"
    )


@pytest.mark.parametrize(
    ("command", "flags", "says"),
    [
        ("generate", "--length 100", "; did you mean --words?"),
        ("generate", "--temp 1", "; did you mean --temperature?"),
        ("generate", "--top_p 1", "; did you mean --top-p?"),
        ("generate", "--checkpoint", "; give the directory of the run without a flag"),
        ("evaluate", "--model", "; give the directory of the run without a flag"),
        ("plot", "-output x.png", "; did you mean --output?"),  # not -o utput
        ("plot", "--save x.png", "; did you mean --output?"),
        ("evaluate", "--epochs 3", ""),
        ("generate", "--dropout 0.5", ""),
        ("generate", "--wdrop 0.5", ""),
        ("generate", "--vocab-size 3", ""),
        ("generate", "--tied", ""),
        ("download", "--data-dir x", ""),
    ],
)
def test_every_command_answers_for_its_own_flags(capsys, command, flags, says):
    assert complaint(capsys, command, *flags.split()) == flags + says


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_names_a_flag_that_it_lacks(capsys, command):
    parser = next(action for action in build_parser()._actions if action.dest == "command").choices[command]
    known = set(parser._option_string_actions)
    every_flag = {flag for names in [*OTHER_NAMES, *DROPOUT] for flag in re.findall("--[a-z-]+", names)}
    for name in {*" ".join(ELSEWHERE).split(), *map(plain_name, every_flag)}:
        said = explain_unknown([f"--{name}x", "0.5"], known, True) + explain_unknown([f"--{name}", "0.5"], known, True)
        assert set(re.findall("--[a-z-]+", said)) <= known, said


def test_the_table_names_flags_that_exist_and_no_name_twice():
    parsers = next(action for action in build_parser()._actions if action.dest == "command").choices
    known = [set(parser._option_string_actions) for parser in parsers.values()]
    for names in [*OTHER_NAMES, *DROPOUT, *MISSING]:
        assert any(set(re.findall("--[a-z-]+", names)) <= flags for flags in known), names
    for flags in known:
        mine = [names for flag, names in OTHER_NAMES.items() if set(re.findall("--[a-z-]+", flag)) <= flags]
        words = " ".join(mine).split()
        assert len(words) == len(set(words))
        assert all(word == plain_name(word) for word in words)


def test_control_characters_of_unknown_flags_are_escaped(capsys):
    assert complaint(capsys, "train", "--\x1b[2J") == r"--\x1b[2J"


@pytest.mark.parametrize("arguments", [["--seed=3", "train"], ["--lr", "3", "train"], ["-lr", "3"], ["--epochs"]])
def test_a_flag_before_its_command_is_told_to_come_after_it(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    assert stop.value.code == 2
    flag = arguments[0]
    assert capsys.readouterr().err == f"minilstm: error: write the command before {flag} (see minilstm --help)\n"


def test_what_follows_two_hyphens_and_values_are_left_alone():
    assert parse(["score", "r", "--", "-lr"]).sentences == ["-lr"]
    assert parse(["generate", "r", "--prompt=-lr", "--temperature", "-1"]).prompt == "-lr"
    assert parse(["plot", "r", "-ox.png"]).output == "x.png"
