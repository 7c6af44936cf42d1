"""What several tests use."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
