"""Gangs on Kubernetes: the manifests, the pods' reasons, the gang, what is left over."""
