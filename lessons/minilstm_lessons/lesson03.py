"""Lesson 3: its exercises."""

EXERCISES = ()
