"""Wrong answers to the exercises of lesson 5: (exercise, function, words the judge must say)."""

WRONG = []
