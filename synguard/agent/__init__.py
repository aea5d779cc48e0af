"""One tick, the loop around it, and what the loop owns: signals, locks, the status file."""
