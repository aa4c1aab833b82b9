"""Image retrieval: which references a query resembles."""
