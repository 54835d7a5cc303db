"""Lesson 10: its exercises."""

EXERCISES = ()
