"""The nftables plane: a table of our own, one set per prefix length, elements, and one transaction a change.

May import what ``enforcer`` may.
"""
