"""Sandboxes made of overlay disks, network namespaces and any OCI runtime."""
