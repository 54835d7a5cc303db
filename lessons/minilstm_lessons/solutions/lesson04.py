"""Solutions of lesson 4."""
