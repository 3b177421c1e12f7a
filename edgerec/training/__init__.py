"""Training: an objective is fitted by one loop, with hooks beside it."""
