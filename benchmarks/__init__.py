"""Measurements of time and memory: python -m benchmarks.speed, benchmarks.profile, benchmarks.sweep and others."""
