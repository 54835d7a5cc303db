"""Lesson 1: its exercises."""

EXERCISES = ()
