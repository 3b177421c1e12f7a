"""Quality of anything that ranks the catalogue: full ranking, no sampled metrics."""
