"""Points and meshes."""
