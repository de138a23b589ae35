"""Privacy: membership-inference audits of distilled sets; oracle, accountants and DP-SGD of private methods."""
