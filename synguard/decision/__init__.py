"""From evidence to verdicts and bans: scores, prefixes, spoofed floods, protection, escalation, budget.

Pure: no clock, socket, database, log or chance of its own. May import ``detector``, ``policy`` and the leaves.
"""
