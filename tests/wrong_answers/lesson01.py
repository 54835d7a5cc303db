"""Wrong answers to the exercises of lesson 1: (exercise, function, words the judge must say)."""

WRONG = []
