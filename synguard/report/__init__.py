"""What operators read: the report and its page, the expiry review, ``why``, connections; text, JSON and HTML.

Changes nothing. May import ``status``, ``doctor``, ``output``, ``replay`` and below, and of the ledger its records.
"""
