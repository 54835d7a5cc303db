"""minilstm: the PTB LSTM language model of Zaremba et al. (arXiv 1409.2329), every gradient by hand."""

__version__ = "0.1.0"
