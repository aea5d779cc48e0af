"""What other tools were set to do, as allow-list, bans and settings of ours.

``plan.py`` is what comes of it; each tool is one module with a ``read`` that fills a plan from its files and writes
nothing. May import ``operator.ban``, ``operator.lists``, ``operator.list_formats``, ``policy`` and the leaves.
"""
