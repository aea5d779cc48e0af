"""The planes on legacy iptables, by python-iptables: one rule a ban, or ipsets; chains, rules, tables.

``xtables.py`` alone imports iptc. May import what ``enforcer`` may.
"""
