"""The report: JSON for machines, a table for the terminal, one self-contained HTML file for people."""
