"""Lesson 6: its exercises."""

EXERCISES = ()
