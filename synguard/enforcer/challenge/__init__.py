"""The challenge: a program at the network interface that answers SYNs with the kernel's own SYN cookies.

Its source stands in the repository, its compiled object beside it. May import what ``enforcer`` may.
"""
