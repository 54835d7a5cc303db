"""The hyperparameters: one dataclass, the presets of the reference script, and `toy`.

Names and values are those of TensorFlow's `ptb_word_lm.py` for Zaremba et al., arXiv 1409.2329. Its vocab_size is
missing here: it is the corpus's.
"""

from dataclasses import dataclass, field, fields

from minilstm.errors import UserError

LARGEST = 1e30  # of a hyperparameter: float32 still holds it, and a few times as much


def option(default, text, **limits):
    """A config field with its help text and the limits its value must keep."""
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True)
class Config:
    """What a run trains; every field is also a flag of ``minilstm train``.

    Raises
    ------
    UserError
        If a value is outside its limits.

    Examples
    --------
    >>> PRESETS["small"].hidden_size
    200
    """

    model: str = option("toy", "name of the preset", choices=("toy", "test", "small", "medium", "large"))
    init_scale: float = option(0.1, "weights start uniform in +-init_scale", above=0)
    learning_rate: float = option(1.0, "initial learning rate; with adam 0.001", above=0)
    max_grad_norm: float = option(5.0, "gradients are clipped to this global norm", above=0)
    num_layers: int = option(1, "LSTM layers", least=1, most=100)
    num_steps: int = option(20, "time steps of one window of truncated BPTT", least=1)
    hidden_size: int = option(128, "hidden units of each layer, and the size of the embedding", least=1, most=2**28)
    max_epoch: int = option(4, "epochs trained with the initial learning rate", least=0)
    max_max_epoch: int = option(8, "epochs in all", least=1)
    keep_prob: float = option(0.9, "probability that dropout keeps a unit", above=0, most=1)
    lr_decay: float = option(0.5, "factor on the learning rate for each epoch after max_epoch", above=0, most=1)
    batch_size: int = option(20, "streams of text read side by side", least=1)
    forget_bias: float = option(0.0, "added to the forget gate's pre-activation")
    optimizer: str = option("sgd", "how gradients become steps", choices=("sgd", "adam"))
    min_count: int = option(1, "training words seen less often become <unk>, as do unknown words", least=1)
    dtype: str = option(
        "float32", "of the arrays; weights are never less than float32", choices=("float64", "float32", "float16")
    )
    precision: str = option(
        "full", "a GPU's float32 matrix products: in full, or faster with 11 bits", choices=("full", "tf32")
    )
    seed: int = option(0, "seed of the initial weights and of the dropout masks", least=0)

    def __post_init__(self):
        for f in fields(self):
            value, limits = getattr(self, f.name), f.metadata
            flag = "--" + f.name.replace("_", "-")
            if f.type is int and (type(value) is not int or value > 2**53):
                raise UserError(f"{flag} must be a whole number, not {value!r}")
            if f.type is float and (type(value) not in (int, float) or not abs(value) <= LARGEST):
                raise UserError(f"{flag} must be a finite number of size up to {LARGEST:g}, not {value!r}")
            if f.type is str and type(value) is not str:
                raise UserError(f"{flag} must be text, not {value!r}")
            if "choices" in limits and value not in limits["choices"]:
                raise UserError(f"{flag} must be one of {', '.join(limits['choices'])}, not {value!r}")
            if "least" in limits and value < limits["least"]:
                raise UserError(f"{flag} must be at least {limits['least']}, not {value}")
            if "above" in limits and value <= limits["above"]:
                raise UserError(f"{flag} must be greater than {limits['above']}, not {value}")
            if "most" in limits and value > limits["most"]:
                raise UserError(f"{flag} must be at most {limits['most']}, not {value}")


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
}  # fmt: skip
