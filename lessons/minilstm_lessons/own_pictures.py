"""The pictures of lesson 11: whose parts the network is made of, how it learns, and what it writes."""

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import display

from minilstm.text.corpus import EOS
from minilstm_lessons.own_network import LEG, count_of_yours
from minilstm_lessons.style import BLUE, GREY, ORANGE, RED

LOOKS = {  # of a box: the student's, ours in its place, and what nobody was asked to write
    "yours": {"facecolor": BLUE, "edgecolor": BLUE},
    "ours stands in": {"facecolor": "#dddddd", "edgecolor": GREY, "hatch": "///", "linestyle": "--"},
    "the package's": {"facecolor": "white", "edgecolor": GREY},
}
BOXES = {  # name -> left, bottom, width, height
    "train_one_epoch": (0, 0, 13.2, 6.3),
    "stack_layers": (2.7, 3.25, 3.9, 2.2),
    "words, embedding": (0.3, 3.45, 2.0, 1.1),
    "lstm_step_forward": (2.95, 3.45, 3.4, 1.1),
    "linear layer": (7.0, 3.45, 1.9, 1.1),
    "softmax": (9.3, 3.45, 1.5, 1.1),
    "loss": (11.2, 3.45, 1.6, 1.1),
    "softmax_layer_backward": (8.6, 1.9, 4.2, 0.95),
    "lstm_step_backward": (2.95, 1.9, 3.7, 0.95),
    "clip_by_global_norm": (2.95, 0.4, 3.7, 0.95),
    "clipped_step": (8.6, 0.4, 4.2, 0.95),
    "learning_rate_schedule": (13.8, 0.4, 3.9, 0.95),
    "numerical_gradient": (13.8, 1.9, 3.9, 0.95),
}
ARROWS = (
    ((2.3, 4), (2.95, 4)), ((6.35, 4), (7, 4)), ((8.9, 4), (9.3, 4)), ((10.8, 4), (11.2, 4)), ((12, 3.45), (12, 2.85)),
    ((8.6, 2.375), (6.65, 2.375)), ((4.8, 1.9), (4.8, 1.35)), ((6.65, 0.875), (8.6, 0.875)),
    ((13.8, 0.875), (12.8, 0.875)),
)  # fmt: skip


def draw_network(parts, name="you"):
    """A diagram of the network: each box in the look of whoever wrote it."""
    yours = {part.name: part.is_yours for part in parts}
    figure, axes = plt.subplots(figsize=(11, 4.6))
    for box, (x, y, width, height) in BOXES.items():
        look = "the package's" if box not in yours else "yours" if yours[box] else "ours stands in"
        frame = box in ("train_one_epoch", "stack_layers")
        style = LOOKS[look] | ({"facecolor": "none", "hatch": None} if frame else {})
        axes.add_patch(plt.Rectangle((x, y), width, height, linewidth=2.5 if frame else 1.5, **style))
        colour = "black" if look != "yours" else BLUE if frame else "white"
        at = (x + 0.15, y + height - 0.1) if frame else (x + width / 2, y + height / 2)
        aligned = {"ha": "left", "va": "top"} if frame else {"ha": "center", "va": "center"}
        pad = None if frame or look != "ours stands in" else {"facecolor": "#dddddd", "edgecolor": "none", "pad": 1.5}
        words = box.replace("words, ", "words,\n").replace("linear ", "linear\n")
        axes.text(
            *at, words, color=colour, fontsize=10, bbox=pad, family="monospace" if "_" in box else None, **aligned
        )
    for start, end in ARROWS:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.5})
    axes.text(13.8, 2.95, "checks the gradient:", fontsize=10, va="bottom")
    for n, (words, look) in enumerate(LOOKS.items()):
        axes.add_patch(plt.Rectangle((13.8, 5.6 - 0.65 * n), 0.7, 0.45, linewidth=1.5, **look))
        axes.text(14.7, 5.82 - 0.65 * n, words, va="center", fontsize=10)
    axes.set(xlim=(-0.1, 17.9), ylim=(-0.1, 6.4))
    axes.axis("off")
    axes.set_title(count_of_yours(parts) if name == "you" else f"A network by {name}: {count_of_yours(parts)}")
    return figure


def draw_curves(axes, curves, floor):
    """Perplexity on the validation text by steps, and the floor; curves is a dict, words -> rows of `train`."""
    axes.axhline(floor, color="black", linewidth=1.5, linestyle="--")
    axes.text(
        0.99, floor * 0.985, f"the floor, {floor:.2f}", va="top", ha="right", transform=axes.get_yaxis_transform()
    )
    styles = (BLUE, "o-"), (ORANGE, "s--"), (RED, "^:")
    for (words, rows), (colour, style) in zip(curves.items(), styles, strict=False):
        steps, valid = [row["steps"] for row in rows], [row["valid"] for row in rows]
        axes.plot(steps, valid, style, color=colour, markersize=5, label=words)
    axes.set(yscale="log", ylim=(2.8, 16), xlabel="training steps", ylabel="perplexity (validation)")
    axes.set_yticks([3, 4, 6, 10, 16], ["3", "4", "6", "10", "16"])
    axes.minorticks_off()


def live(floor, num_legs, title="", every=3):
    """A picture for `train` to update while it goes on: returns its `watch`. Outside a notebook it draws nothing."""
    figure, axes = plt.subplots(figsize=(8, 4.2))
    plt.close(figure)  # or the notebook shows it once more when the cell ends
    handle = display(figure, display_id=True) if get_ipython() else None

    def watch(rows, params):
        if handle and (len(rows) % every == 1 or len(rows) == num_legs):
            axes.clear()
            draw_curves(axes, {"": rows}, floor)
            row = rows[-1]
            gap = f"{row['valid'] / floor - 1:.0%} above the floor"
            axes.annotate(gap, (row["steps"], row["valid"]), (-8, 22), textcoords="offset points", ha="right",
                          color=BLUE, weight="bold")  # fmt: skip
            axes.set_xlim(0, 1.03 * num_legs * LEG)
            axes.set_title(title)
            handle.update(figure)

    return watch


def first_impossible(grammar, words):
    """The index of the first word after which no sentence of the grammar goes on so; None if the sentence is possible.

    The sentence must also be allowed to end where it ends: if not, the index is len(words).
    """
    state = grammar.start()
    for n, word in enumerate([*words, EOS]):
        _, state = grammar.advance(state, word)
        if not state:
            return n
    return None


def sentences_of(ids, vocabulary):
    """The whole sentences of a text of ids, each a list of words; what follows the last <eos> is left out."""
    words = [vocabulary[id] for id in ids]
    ends = [n for n, word in enumerate(words) if word == EOS]
    return [words[start + 1 : end] for start, end in zip([-1, *ends], ends, strict=False)]


def draw_sentences(axes, sentences, grammar, width=118):
    """Sentences, one a line, the first impossible word of each on a coloured ground and underlined."""
    for y, words in enumerate(sentences):
        wrong = first_impossible(grammar, words)
        axes.text(0, -y, "✓" if wrong is None else "✗", color=BLUE if wrong is None else RED, va="center",
                  weight="bold", family="DejaVu Sans")  # fmt: skip
        x = 2.5
        for n, word in enumerate([*words, "(end)"] if wrong == len(words) else words):
            bad = n == wrong
            ground = {"facecolor": "#ffd9c7", "edgecolor": RED, "pad": 1.5} if bad else None
            grey = wrong is not None and n > wrong
            axes.text(x, -y, word, family="monospace", fontsize=9.5, va="center", bbox=ground,
                      color="black" if not grey else GREY, weight="bold" if bad else "normal")  # fmt: skip
            x += len(word) + 1
            if x + len(words[min(n + 1, len(words) - 1)]) > width:
                axes.text(x, -y, "…", va="center", color=GREY)
                break
    axes.set(xlim=(0, width), ylim=(0.5 - len(sentences), 0.6))
    axes.axis("off")


def draw_extra_bits(axes, extra_bits, words, count=10):
    """The words at which the network pays most above the grammar, in all: their share of the extra bits."""
    totals = {}
    for word, bits in zip(words, extra_bits, strict=True):
        totals.setdefault(word, []).append(bits)
    top = sorted(totals, key=lambda word: -sum(totals[word]))[:count][::-1]
    share = np.array([sum(totals[word]) for word in top]) / extra_bits.sum()
    axes.barh([word if word != EOS else "end of sentence" for word in top], 100 * share, color=BLUE)
    axes.set(xlabel="share of all extra bits (%)", title="Where the distance is")
    axes.grid(axis="y", visible=False)
