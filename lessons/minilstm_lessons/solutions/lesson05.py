"""Solutions of lesson 5."""
