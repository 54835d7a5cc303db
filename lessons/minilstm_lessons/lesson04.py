"""Lesson 4: its exercises."""

EXERCISES = ()
