"""Solutions of lesson 6."""
