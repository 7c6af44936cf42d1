"""Usage, merge, allocation, bill, ledger: what a run used and what that cost."""
