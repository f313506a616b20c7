"""The benchmark: the host's turns beside the least that the same four requests can cost."""
