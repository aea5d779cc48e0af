"""Figures for Prometheus: which there are, how they are written, and a server that costs the agent little."""
