"""The GPU implementation. The mathematics is in layers/; this folder can be skipped."""
