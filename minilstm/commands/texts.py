"""What the commands say about texts: how much of them is unknown."""

from collections.abc import Mapping

from minilstm.arguments import print_error
from minilstm.text.corpus import UNK

MUCH = 0.25  # of a text is <unk>: its perplexity says little


def print_unknown_shares(shares: Mapping[str, float], unit: str, own: bool) -> None:
    """Print the share of <unk> in each text, name -> 0 to 1, and a warning if it is large.

    `own` is whether the vocabulary is that of the text.
    """
    print(f"{UNK}: " + ", ".join(f"{share:.1%} of {name}" for name, share in shares.items()))
    most = max(shares, key=lambda name: shares[name])
    if shares[most] > MUCH:
        if not own:
            why = "the model does not know its words" if unit == "word" else "the model does not know its characters"
        elif unit == "word":
            why = "if it is a list or has no blanks, train with --unit char"
        else:
            why = "lower --min-count"
        text = "text" if most == "text" else f"{most} text"
        print_error(f"{shares[most]:.0%} of the {text} is {UNK}, so its perplexity says little; {why}")
