"""Solutions of the exercises, one file a lesson. Try first."""
