"""Lesson 5: its exercises."""

EXERCISES = ()
