"""synguard keeps a Linux server reachable under SYN floods and connection floods."""

__version__ = "0.1.0"
