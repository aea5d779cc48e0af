"""The challenge: a program at the network interface that answers SYNs with the kernel's own SYN cookies."""
