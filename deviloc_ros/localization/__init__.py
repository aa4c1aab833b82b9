"""The method: from a query image and a map to a pose with covariance."""
