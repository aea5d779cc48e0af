"""What operators read: the dry-run report, the expiry review, incidents; terminal and JSON."""
