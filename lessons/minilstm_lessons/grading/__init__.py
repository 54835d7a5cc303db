"""Grading a class: what a submission is, its answers, and the process in which a student's code runs."""
