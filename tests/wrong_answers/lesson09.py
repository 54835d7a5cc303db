"""Wrong answers to the exercises of lesson 9: (exercise, function, words the judge must say)."""

WRONG = []
