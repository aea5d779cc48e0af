"""What ``synguard top`` shows and does: a look at the host, rows, a frame of text, keys; the terminal comes last."""
