"""What the commands say about texts: how much of them is unknown."""

from collections.abc import Mapping

from minilstm.arguments import print_error
from minilstm.text.corpus import UNK

MUCH = 0.25  # of a text is <unk>: its perplexity says little


def print_unknown_shares(shares: Mapping[str, float], unit: str) -> None:
    """Print the share of <unk> in each text, name -> 0 to 1, and a warning if it is large."""
    print(f"{UNK}: " + ", ".join(f"{share:.1%} of {name}" for name, share in shares.items()))
    most = max(shares, key=lambda name: shares[name])
    if shares[most] > MUCH:
        cure = "if it is a list or has no blanks, train with --unit char" if unit == "word" else "lower --min-count"
        print_error(f"{shares[most]:.0%} of the {most} text is {UNK}, so its perplexity says little; {cure}")
