"""Text: reading a corpus into ids, batching them, the toy grammar, and the Penn Treebank download."""
