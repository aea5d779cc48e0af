"""Plain text for people: tables and times.

Knows nothing of what stands in them. May import ``plain`` and ``units``.
"""
