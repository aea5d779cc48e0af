"""The command line and the config file, written out: man pages, the reference page, completions, the example config.

``python -m synguard.manual`` writes all of them anew from the parser and the models, so none can drift from the code.
"""
