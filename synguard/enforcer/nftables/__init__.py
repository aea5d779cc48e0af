"""The nftables plane: a table of our own, its sets and their elements."""
