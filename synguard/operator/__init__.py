"""What a person orders: ban, unban, lists, preview, enable, trial, roll back. Used by ``cli`` and ``top``.

Needs no running agent. May import ``sensors``, ``enforcer``, ``ledger``, ``detector``, ``output``, ``policy`` and
the leaves.
"""
