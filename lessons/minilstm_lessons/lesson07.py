"""Lesson 7: its exercises."""

EXERCISES = ()
