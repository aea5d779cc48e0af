"""What hosts learn from one another: CrowdSec decisions in, alerts out, routes announced upstream.

Pure modules turn answers into decisions and bans into alerts or routes; ``lapi`` and the speakers do the talking,
each in a thread of its own. A peer that is slow, away or wrong never reaches the tick: what is known stands until
its own end. May import policy, model, ledger, enforcer, status, sensors' readings and the leaves; imported by agent,
doctor and cli.
"""
