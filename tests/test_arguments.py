"""The command line's flags, and error messages that name them."""

from dataclasses import fields

import pytest

from minilstm.arguments import with_flags
from minilstm.cli import parse
from minilstm.config import PRESETS, Config
from minilstm.errors import UserError


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("hidden_size must be at least 1, not 0", "--hidden-size must be at least 1, not 0"),
        ("lower num_steps, batch_size, or both.", "lower --num-steps, --batch-size, or both."),
        ("config.json is invalid (max_epoch must be 1)", "config.json is invalid (--max-epoch must be 1)"),
        ("max_max_epoch is below max_epoch", "--max-max-epoch is below --max-epoch"),
        ("model must be one of toy, test", "--model must be one of toy, test"),
        ("the model and its seed", "the model and its seed"),
        ("models are large", "models are large"),
        ("lower --batch-size", "lower --batch-size"),
        ("runs/batch_size/x is damaged", "runs/batch_size/x is damaged"),
        ("batch_size.txt and my_batch_size_2 stay", "batch_size.txt and my_batch_size_2 stay"),
        ("'keep_prob' is not in the vocabulary", "'keep_prob' is not in the vocabulary"),
    ],
)
def test_field_names_in_messages_become_flags(message, expected):
    assert with_flags(message) == with_flags(expected) == expected


@pytest.mark.parametrize("name", [f.name for f in fields(Config)])
def test_the_message_about_every_field_names_its_flag(name):
    with pytest.raises(UserError, match=f"^{name} must be ") as error:
        Config(**{name: None})
    assert with_flags(str(error.value)).startswith(f"--{name.replace('_', '-')} must be ")


def test_every_field_of_a_preset_can_be_given_as_a_flag_and_none_is_set_otherwise():
    switches = {f.name: True for f in fields(Config) if f.type is bool}
    assert {"lr_on_plateau", "tie_weights"} <= switches.keys()
    values = vars(PRESETS["small"]) | switches
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if name not in switches]
    flags += [f"--{name.replace('_', '-')}" for name in switches]
    given = vars(parse(["train", *flags]))
    assert {f.name: given[f.name] for f in fields(Config)} == values
    assert parse(["train", "--no-lr-on-plateau"]).lr_on_plateau is False
    assert not vars(parse(["train"])).keys() & {f.name for f in fields(Config)}


@pytest.mark.parametrize("command", [["train"], ["evaluate", "run"], ["generate", "run"], ["gradcheck"]])
def test_commands_that_compute_take_a_device_and_kernels(command):
    assert (parse(command).device, parse(command).kernels) == ("auto", None)
    args = parse([*command, "--device", "cpu", "--kernels", "plain"])
    assert (args.device, args.kernels) == ("cpu", "plain")


def test_unknown_flags_are_reported_with_the_closest_match(capsys):
    with pytest.raises(SystemExit):
        parse(["train", "--hiden-size", "3"])
    assert "unknown: --hiden-size 3; did you mean --hidden-size?" in capsys.readouterr().err
