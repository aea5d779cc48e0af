"""From the desired state to the kernel's: what differs is found, applied, and kept that way."""
