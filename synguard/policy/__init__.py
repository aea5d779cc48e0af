"""Config and policies: pydantic models, loading, and errors with the path as the operator typed it."""
