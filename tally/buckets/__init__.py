"""Object stores: sources brought to a local cache, and what Tally itself keeps there."""

from tally.buckets.sources import bucket_and_object, fetch, is_address

__all__ = ["bucket_and_object", "fetch", "is_address"]
