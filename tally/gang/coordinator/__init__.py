"""Who is in the gang: a gRPC server in the conductor and its client in each worker."""
