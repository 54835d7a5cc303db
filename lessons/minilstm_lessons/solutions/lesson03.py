"""Solutions of lesson 3."""
