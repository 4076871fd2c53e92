"""Media that flows through us: worker processes, and what watches over them."""
