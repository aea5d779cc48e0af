"""Readings of the host: socket tables, kernel counters, sampled SYNs, and who must be protected."""
