"""``synguard top``: snapshots, rows, frames and keys; the terminal is one module of it.

May import ``operator``, ``report``, ``status``, ``detector``, ``sensors``, ``enforcer``, ``ledger``, ``output`` and
below.
"""
