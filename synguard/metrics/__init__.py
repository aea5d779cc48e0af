"""Metrics for Prometheus: which there are, how they are written, and the server that answers scrapes.

Reads the status and nothing else of the agent. May import ``status``, ``policy``, ``logs`` and the leaves.
"""
