"""Messages about attacks and conditions: which, how often, in which words, and the way to the services.

The agent hands it what it says. May import ``policy``, ``logs`` and the leaves.
"""
