"""Text: from files to ids to batches, the toy grammar, and PTB's download."""
