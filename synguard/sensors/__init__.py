"""Readings of the host: socket tables, kernel counters, sampled SYNs, containers, and who must be protected.

Knows nothing of what is too much. May import ``policy`` and the leaves.
"""
