"""Wanted against actual, and the planes that hold rules in the kernel."""
