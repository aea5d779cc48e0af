"""How bans are held in the kernel: the port ``plane.py``, the planes behind it, locks, sysctls, socket destroy.

Knows nothing of why a target is banned. May import ``policy``, ``logs`` and the leaves.
"""
