"""Solutions of lesson 1."""
