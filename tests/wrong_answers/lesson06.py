"""Wrong answers to the exercises of lesson 6: (exercise, function, words the judge must say)."""

WRONG = []
