"""Lesson 9: its exercises."""

EXERCISES = ()
