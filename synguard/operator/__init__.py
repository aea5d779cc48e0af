"""What a person orders: ban, unban, lists, preview, enable, trial and flush."""
