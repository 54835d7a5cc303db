"""What a GPU adds; the mathematics is in layers/, and this folder may be skipped."""
