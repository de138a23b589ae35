"""What a set gives away, and what it promises not to: membership-inference audits; oracle, accountants and DP-SGD of private methods."""
