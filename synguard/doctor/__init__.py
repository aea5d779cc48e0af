"""What ``synguard doctor`` checks, each finding with its fix."""
