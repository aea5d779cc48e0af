"""A network in namespaces to attack and to defend: see docs/lab.md."""
