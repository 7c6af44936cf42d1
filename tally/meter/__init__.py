"""The meter: what runs on the cluster, from when to when, into the ledger and to whoever asks."""
