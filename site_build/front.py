"""The first screen of the front page: a sentence coloured by its surprise, and a word to guess. site/surprise.json has
the numbers, which surprise.py computed with a trained model.
"""

import json
from html import escape

from site_build import ROOT

NAVIGATION = """
```{toctree}
:hidden:

lessons/index
lessons/teaching
api/index
architecture
security
changelog
contributing
```
"""


def front_page(readme):
    """README.md with the first screen under its title."""
    title, _, body = readme.partition("\n")
    data = json.loads((ROOT / "site/surprise.json").read_text(encoding="utf-8"))
    template = (ROOT / "site/front.html").read_text(encoding="utf-8")
    sentences = "\n".join(f'<p class="surprise">{coloured(words)}</p>' for words in data["sentences"])
    rounds = escape(json.dumps(data["rounds"]))
    screen = template.replace("{{sentences}}", sentences).replace("{{rounds}}", rounds)
    return f"{title}\n\n{screen}\n{body}{NAVIGATION}"


def coloured(words):
    """The words of a sentence in HTML, each on the colour of its surprise, which comes one word after the other."""
    parts = []
    for i, word in enumerate(words):
        style = f"--colour:{word['colour']};--ink:{'#fff' if word['dark'] else '#000'};--turn:{i}"
        bits = word["bits"]
        parts.append(f'<span style="{style}" title="{bits} bits">{escape(word["word"])}<small>{bits}</small></span>')
    return "".join(parts)
