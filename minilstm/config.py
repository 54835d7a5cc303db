"""The hyperparameters: one dataclass, the presets of the reference implementation, and our own.

Names and values are those of TensorFlow's `ptb_word_lm.py`, an implementation of Zaremba et al., arXiv 1409.2329. Its
vocab_size has no counterpart here: it follows from the corpus. The fields from `tie_weights` on are ideas of 2015 to
2017, which Merity et al. put together: AWD-LSTM, arXiv 1708.02182. The presets `hour` and `night` are choices of them,
named after their time on two CPU cores; `awd` has the values with which their program is started for the Penn Treebank.
Its loss is the mean over a window's 70 steps, ours the sum, so that the learning rate is divided by 70, and the decay
of weights and the norm for clipping are multiplied by it.
"""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from minilstm.errors import UserError

MODELS = "toy", "test", "small", "medium", "large", "char", "hour", "night", "awd"  # names of the presets
MAX_FLOAT = 1e30  # float32 can hold it, and a few products of it with small numbers


def hyperparameter(default: Any, description: str, **limits: Any) -> Any:
    """A Config field with its description and limits: choices, minimum, maximum, above (an exclusive minimum)."""
    return field(default=default, metadata={"help": description, **limits})


@dataclass(frozen=True)
class Config:
    """Hyperparameters of a run; each field is also a flag of ``minilstm train``.

    Raises
    ------
    UserError
        If a value is outside its limits.

    Examples
    --------
    >>> PRESETS["small"].hidden_size
    200
    >>> Config(num_layers=0)
    Traceback (most recent call last):
    minilstm.errors.UserError: num_layers must be at least 1, not 0
    """

    model: str = hyperparameter("toy", "name of the preset", choices=MODELS)
    init_scale: float = hyperparameter(0.1, "weights are initialized uniformly in +-init_scale", above=0)
    learning_rate: float = hyperparameter(1.0, "initial learning rate; 0.001 with adam", above=0)
    max_grad_norm: float = hyperparameter(5.0, "gradients are clipped to this global norm", above=0)
    num_layers: int = hyperparameter(1, "number of LSTM layers", minimum=1, maximum=100)
    num_steps: int = hyperparameter(20, "time steps per window of truncated BPTT", minimum=1)
    hidden_size: int = hyperparameter(128, "hidden units per layer", minimum=1, maximum=2**28)
    max_epoch: int = hyperparameter(4, "epochs trained with the initial learning rate", minimum=0)
    max_max_epoch: int = hyperparameter(8, "total number of epochs", minimum=1)
    keep_prob: float = hyperparameter(0.9, "probability of keeping a unit in dropout", above=0, maximum=1)
    lr_decay: float = hyperparameter(0.5, "learning rate factor per epoch after max_epoch", above=0, maximum=1)
    lr_on_plateau: bool = hyperparameter(
        False, "apply lr_decay after each epoch whose validation perplexity is not the best so far, not after max_epoch"
    )
    patience: int = hyperparameter(
        0, "stop when the validation perplexity has not improved for this number of epochs; 0 is never", minimum=0
    )
    batch_size: int = hyperparameter(20, "streams of text read in parallel", minimum=1)
    forget_bias: float = hyperparameter(0.0, "added to the forget gate's pre-activation")
    optimizer: str = hyperparameter("sgd", "update rule", choices=("sgd", "adam"))
    unit: str = hyperparameter("word", "what a token of the text is", choices=("word", "char"))
    min_count: int = hyperparameter(1, "rarer training tokens become <unk>, as do unknown tokens", minimum=1)
    dtype: str = hyperparameter(
        "float32", "of the arrays; weights are at least float32", choices=("float64", "float32", "float16")
    )
    precision: str = hyperparameter(
        "full", "of float32 matrix products on a GPU; tf32 is faster, with 11 bits", choices=("full", "tf32")
    )
    tie_weights: bool = hyperparameter(False, "use the embedding as the decoder's weights, too")
    embedding_size: int = hyperparameter(
        0,
        "size of the embedding, and of the last layer if weights are tied; 0 is hidden_size",
        minimum=0,
        maximum=2**28,
    )
    embedding_init_scale: float = hyperparameter(0.0, "init_scale of the embedding; 0 is init_scale", minimum=0)
    locked_dropout: bool = hyperparameter(False, "drop the same units in all time steps of a window")
    input_keep_prob: float = hyperparameter(
        0.0, "keep_prob of the embedded input; 0 is keep_prob", minimum=0, maximum=1
    )
    output_keep_prob: float = hyperparameter(0.0, "keep_prob of the last layer; 0 is keep_prob", minimum=0, maximum=1)
    embedding_keep_prob: float = hyperparameter(
        1.0, "probability of keeping a word of the input, in a whole window", above=0, maximum=1
    )
    weight_keep_prob: float = hyperparameter(
        1.0, "probability of keeping a recurrent weight, in a whole window", above=0, maximum=1
    )
    activation_reg: float = hyperparameter(0.0, "penalty on large outputs of the last layer", minimum=0)
    temporal_reg: float = hyperparameter(0.0, "penalty on changes of its outputs from step to step", minimum=0)
    weight_decay: float = hyperparameter(0.0, "share of a weight that a step at learning rate 1 removes", minimum=0)
    average_after: int = hyperparameter(
        0,
        "average the weights from the first epoch whose validation perplexity is above the lowest of those more than "
        "this number of epochs before; 0 is never",
        minimum=0,
    )
    vary_num_steps: bool = hyperparameter(False, "draw the length of each window, around num_steps")
    seed: int = hyperparameter(0, "seed of the initial weights and dropout masks", minimum=0)

    def __post_init__(self) -> None:
        for f in fields(self):
            value, limits = getattr(self, f.name), f.metadata
            if isinstance(value, np.generic):  # from a sweep over an array: a plain number
                object.__setattr__(self, f.name, value := value.item())
            if f.type is int and (type(value) is not int or value > 2**53):
                raise UserError(f"{f.name} must be a whole number, not {value!r}")
            if f.type is float and (type(value) not in (int, float) or not abs(value) <= MAX_FLOAT):
                raise UserError(f"{f.name} must be a finite number of magnitude up to {MAX_FLOAT:g}, not {value!r}")
            if f.type is bool and type(value) is not bool:
                raise UserError(f"{f.name} must be true or false, not {value!r}")
            if f.type is str and type(value) is not str:
                raise UserError(f"{f.name} must be text, not {value!r}")
            if "choices" in limits and value not in limits["choices"]:
                raise UserError(f"{f.name} must be one of {', '.join(limits['choices'])}, not {value!r}")
            if "minimum" in limits and value < limits["minimum"]:
                raise UserError(f"{f.name} must be at least {limits['minimum']}, not {value}")
            if "above" in limits and value <= limits["above"]:
                raise UserError(f"{f.name} must be greater than {limits['above']}, not {value}")
            if "maximum" in limits and value > limits["maximum"]:
                raise UserError(f"{f.name} must be at most {limits['maximum']}, not {value}")
        if self.learning_rate * self.weight_decay >= 1:
            raise UserError(
                f"weight_decay must be below 1 / learning_rate, {1 / self.learning_rate:g}: a step removes all"
            )


def layer_sizes(config: Config) -> list[int]:
    """Units of the embedding and of each LSTM layer: E, H, ..., H; with tied weights the last layer has E.

    Examples
    --------
    >>> layer_sizes(Config(num_layers=3, hidden_size=9, embedding_size=4, tie_weights=True))
    [4, 9, 9, 4]
    """
    E, H = config.embedding_size or config.hidden_size, config.hidden_size
    return [E, *[H] * (config.num_layers - 1), E if config.tie_weights else H]


PRESETS = {
    "toy": Config(),
    "test": Config(
        model="test", init_scale=0.1, learning_rate=1.0, max_grad_norm=1, num_layers=1, num_steps=2, hidden_size=2,
        max_epoch=1, max_max_epoch=1, keep_prob=1.0, lr_decay=0.5, batch_size=20,
    ),
    "small": Config(
        model="small", init_scale=0.1, learning_rate=1.0, max_grad_norm=5, num_layers=2, num_steps=20, hidden_size=200,
        max_epoch=4, max_max_epoch=13, keep_prob=1.0, lr_decay=0.5, batch_size=20,
    ),
    "medium": Config(
        model="medium", init_scale=0.05, learning_rate=1.0, max_grad_norm=5, num_layers=2, num_steps=35,
        hidden_size=650, max_epoch=6, max_max_epoch=39, keep_prob=0.5, lr_decay=0.8, batch_size=20,
    ),
    "large": Config(
        model="large", init_scale=0.04, learning_rate=1.0, max_grad_norm=10, num_layers=2, num_steps=35,
        hidden_size=1500, max_epoch=14, max_max_epoch=55, keep_prob=0.35, lr_decay=1 / 1.15, batch_size=20,
    ),
    "hour": Config(
        model="hour", init_scale=0.05, learning_rate=1.0, max_grad_norm=5, num_layers=2, num_steps=35, hidden_size=300,
        tie_weights=True, max_epoch=10, max_max_epoch=25, keep_prob=0.75, input_keep_prob=0.7, output_keep_prob=0.65,
        embedding_keep_prob=0.95, weight_keep_prob=0.8, locked_dropout=True, lr_decay=0.8, batch_size=20,
    ),
    "night": Config(
        model="night", init_scale=0.05, learning_rate=1.0, max_grad_norm=5, num_layers=2, num_steps=35, hidden_size=650,
        tie_weights=True, max_epoch=18, max_max_epoch=50, keep_prob=0.6, input_keep_prob=0.6, output_keep_prob=0.6,
        embedding_keep_prob=0.9, weight_keep_prob=0.7, locked_dropout=True, activation_reg=2.0, temporal_reg=1.0,
        lr_decay=0.9, batch_size=20,
    ),
    "awd": Config(
        model="awd", init_scale=0.03, embedding_init_scale=0.1, learning_rate=30 / 70, max_grad_norm=0.25 * 70,
        num_layers=3, num_steps=70, hidden_size=1150, embedding_size=400, tie_weights=True, max_epoch=500,
        max_max_epoch=500, keep_prob=0.75, input_keep_prob=0.6, output_keep_prob=0.6, embedding_keep_prob=0.9,
        weight_keep_prob=0.5, locked_dropout=True, activation_reg=2.0, temporal_reg=1.0, weight_decay=1.2e-6 * 70,
        average_after=5, vary_num_steps=True, batch_size=20,
    ),
    "char": Config(
        model="char", unit="char", init_scale=0.06, optimizer="adam", learning_rate=0.003, max_grad_norm=5,
        num_layers=2, num_steps=64, hidden_size=256, max_epoch=4, max_max_epoch=8, keep_prob=0.85, lr_decay=0.5,
        batch_size=32,
    ),
}  # fmt: skip
