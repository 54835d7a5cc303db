"""Wrong answers to the exercises of lesson 10: (exercise, function, words the judge must say)."""

WRONG = []
