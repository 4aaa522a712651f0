"""What latents look at, as pages and pictures."""
