"""Solutions of lesson 8."""
