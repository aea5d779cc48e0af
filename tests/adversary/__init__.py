"""Attackers of every kind at once, drawn at random: ``make adversary``."""
