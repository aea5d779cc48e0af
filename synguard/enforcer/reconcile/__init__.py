"""The desired state, the actual state, the delta between them, drift, repair, capacity, and the reconciler.

Speaks to planes through ``enforcer/plane.py`` alone. May import what ``enforcer`` may.
"""
