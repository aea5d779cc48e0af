"""The planes on legacy iptables, by python-iptables: bans are members of ipsets, which fixed rules ask.

``xtables.py`` alone imports iptc. May import what ``enforcer`` may.
"""
