"""Pictures of what models see and make."""
