"""The agent: the tick and the loop around it, the schedule of sensors, the mode, and what follows from incidents.

Holds nothing that a verb needs without a running loop. May import all but ``report``, ``doctor``, ``top`` and
``cli``.
"""
