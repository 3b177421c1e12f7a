"""Training: one loop fits every objective; hooks take part in it."""
