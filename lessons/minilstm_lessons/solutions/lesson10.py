"""Solutions of lesson 10."""
