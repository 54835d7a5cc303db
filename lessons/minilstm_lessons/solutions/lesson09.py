"""Solutions of lesson 9."""
