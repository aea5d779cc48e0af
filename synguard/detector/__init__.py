"""From readings to evidence: counts by source, prefix and port, and the pressure on listeners.

Pure: no clock, socket, database, log or chance of its own. May import ``policy`` and the leaves.
"""
