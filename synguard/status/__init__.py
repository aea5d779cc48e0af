"""The status document: model, builder, file, freshness, overview, and the board of conditions.

Changes nothing. May import ``decision``, ``detector``, ``enforcer``, ``output``, ``policy``, ``logs`` and the
leaves.
"""
