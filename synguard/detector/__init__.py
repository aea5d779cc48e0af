"""Readings to evidence: counts by source, prefix and port, and the pressure on listeners. Pure."""
