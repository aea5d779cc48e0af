"""Charts as SVG text: pure functions from figures to pictures, with their scales and their words.

May import what ``report`` may.
"""
