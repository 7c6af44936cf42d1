"""The gate: stages with deadlines, a failed test run once more, one table at the end."""
