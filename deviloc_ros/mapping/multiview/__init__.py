"""References that agree on depths."""
