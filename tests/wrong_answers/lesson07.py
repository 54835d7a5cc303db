"""Wrong answers to the exercises of lesson 7: (exercise, function, words the judge must say)."""

WRONG = []
