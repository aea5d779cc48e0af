"""Messages to people and programs elsewhere: what is told, how often, and the way there."""
