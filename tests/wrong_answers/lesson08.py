"""Wrong answers to the exercises of lesson 8: (exercise, function, words the judge must say)."""

WRONG = []
