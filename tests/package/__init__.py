"""The Debian package and a newcomer's path, on a fresh Debian: ``make deb-check``, ``make newcomer``."""
