"""The command line and the config file, written out: man pages, reference pages, completions, the example config.

``make man`` writes all of them from the parser and the models, so that none can differ from the code.
"""
