"""A safetensors file that knows its own sha256, so that any byte of it that changes is noticed.

    digest = sha256(the whole file, with 64 zeros where the digest goes)

The digest stands at the start of the metadata, and so near the start of the file. It tells damage, not forgery: whoever
changes a file on purpose can seal it again.
"""

import hashlib

BLANK = b"0" * 64


def digest_of(contents, written):
    """The digest of a file's contents in which `written` stands where BLANK was: 64 bytes of hexadecimal digits."""
    data = 8 + int.from_bytes(contents[:8], "little")  # safetensors: the header's length, the header, the data
    digest = hashlib.sha256(contents[:data].replace(written, BLANK, 1))
    digest.update(memoryview(contents)[data:])
    return digest.hexdigest().encode()


def seal(contents):
    """Put the digest of a file's contents into its first BLANK.

    Examples
    --------
    >>> contents = (66).to_bytes(8, "little") + b'"' + BLANK + b'"'
    >>> sealed = seal(contents)
    >>> digest_of(sealed, sealed[9:73]) == sealed[9:73]
    True
    """
    return contents.replace(BLANK, digest_of(contents, BLANK), 1)
