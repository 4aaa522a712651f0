"""How steps run on devices."""
