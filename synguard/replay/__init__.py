"""Recorded readings through detector and engine again: what other policies would have done, what limits fit.

Pure. May import ``recording``, ``decision``, ``detector``, ``policy`` and the leaves.
"""
