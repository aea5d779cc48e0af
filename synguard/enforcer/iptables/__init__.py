"""The planes on legacy iptables: rules alone, or rules with ipsets."""
