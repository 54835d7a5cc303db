"""Wrong answers to the exercises of lesson 3: (exercise, function, words the judge must say)."""

WRONG = []
