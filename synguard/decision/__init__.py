"""Evidence to verdicts to bans: scores, prefixes, spoofing, protection, escalation, budget. Pure."""
