"""Readings in a file: a stream of small compressed frames, written by the agent and read by replay.

May import ``readings``, ``logs`` and the leaves.
"""
