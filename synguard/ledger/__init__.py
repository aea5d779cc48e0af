"""What synguard wants and what it has done, in SQLite."""
