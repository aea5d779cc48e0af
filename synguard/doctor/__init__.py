"""Every check of ``synguard doctor``: what is found, how bad it is, and the command that mends it.

Needs no running agent. May import ``sensors``, ``enforcer``, ``ledger``, ``notify``, ``fleet``, ``status``,
``output``, ``policy`` and the leaves.
"""
