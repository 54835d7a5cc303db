"""Where time and memory go: python -m benchmarks.speed, benchmarks.profile and benchmarks.sweep."""
