"""Lesson 8: its exercises."""

EXERCISES = ()
