"""Solutions of lesson 7."""
