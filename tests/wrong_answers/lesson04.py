"""Wrong answers to the exercises of lesson 4: (exercise, function, words the judge must say)."""

WRONG = []
