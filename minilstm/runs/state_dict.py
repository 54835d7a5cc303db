"""A state dict of PyTorch's word-language-model example: a safetensors file of its tensors, without metadata.

That model adds two biases to the gates; here they are one:

    W_ih x + b_ih + W_hh h + b_hh  =  W_ih x + W_hh h + b,     b = b_ih + b_hh
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from minilstm.config import Config, layer_sizes
from minilstm.model import param_shapes
from minilstm.types import Params

FLOATS = "F64", "F32", "F16"  # names of dtypes in a header
Entry = TypeVar("Entry")


def by_name(entries: dict[str, Entry], metadata: Mapping[str, str]) -> dict[str, Entry]:
    """The entries of a file's header, or its tensors, with the name that a tied weight has here: encoder.weight.

    PyTorch's ``safetensors.torch.save_model`` keeps only decoder.weight then, and notes that the other is the same.
    """
    if "encoder.weight" in entries or metadata.get("encoder.weight") != "decoder.weight":
        return entries
    return {"encoder.weight" if name == "decoder.weight" else name: entry for name, entry in entries.items()}


def require_state_dict(header: Mapping[str, Any]) -> Config:
    """A config with the sizes of a state dict, and whether its weights are tied: then it has no decoder.weight.

    Parameters
    ----------
    header : dict
        Name -> {"dtype": ..., "shape": ...}

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is not the state dict of such a model.
    """
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    for name in ("encoder.weight", "rnn.weight_hh_l0"):
        if name not in shapes:
            raise ValueError(f"it has no {name}: it is not PyTorch's word language model")
        if len(shapes[name]) != 2:
            raise ValueError(f"{name} has the shape {shapes[name]}: it is not a matrix")
    (num_words, embedding_size), (gates, H) = shapes["encoder.weight"], shapes["rnn.weight_hh_l0"]
    num_layers = sum(re.fullmatch(r"rnn\.weight_hh_l\d+", name) is not None for name in shapes)
    tied = "decoder.weight" not in shapes
    other_size = 0 if embedding_size == H else embedding_size
    config = Config(hidden_size=H, num_layers=num_layers, embedding_size=other_size, tie_weights=tied)
    if gates != 4 * H:
        kind = "a GRU" if gates == 3 * H else "a plain RNN" if gates == H else "no LSTM"
        raise ValueError(f"rnn.weight_hh_l0 is {gates} by {H}: this is {kind}, and only an LSTM has a counterpart here")
    expected = param_shapes(config, num_words) | {
        f"rnn.bias_hh_l{k}": (4 * units,) for k, units in enumerate(layer_sizes(config)[1:])
    }
    for what, names in (("lacks", expected.keys() - shapes.keys()), ("also has", shapes.keys() - expected.keys())):
        if names:
            raise ValueError(f"it {what} {', '.join(sorted(names)[:3])}, unlike PyTorch's word language model")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f"{name} has the shape {shapes[name]}, not {shape}")
        if header[name]["dtype"] not in FLOATS:
            raise ValueError(f"{name} is of the type {header[name]['dtype']}; save it as float32, F32")
    return config


def params_of(tensors: Mapping[str, np.ndarray], config: Config) -> tuple[Params, Config]:
    """The parameters in a state dict of this config; with tied weights, if both names have the same matrix."""
    if not config.tie_weights and np.array_equal(tensors["encoder.weight"], tensors["decoder.weight"]):
        config = replace(config, tie_weights=True)
    params = {name: tensors[name] for name in param_shapes(config, 1)}
    for k in range(config.num_layers):
        params[f"rnn.bias_ih_l{k}"] = tensors[f"rnn.bias_ih_l{k}"].astype(np.float64) + tensors[f"rnn.bias_hh_l{k}"]
    return params, config
