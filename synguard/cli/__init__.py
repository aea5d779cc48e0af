"""The command line: one module a verb. It parses words, asks, prints, and turns errors into exit codes.

What a verb does lives in ``operator``, ``doctor``, ``status`` and ``report``. May import every other package.
"""
