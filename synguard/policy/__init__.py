"""Config and policies: pydantic models, loading, and every error of a file at once with its path.

Knows nothing of the host. May import ``model`` and the leaves.
"""
