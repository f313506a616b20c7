"""Example skill bots, one file each; `manifests/` holds a manifest of the same name for each."""
