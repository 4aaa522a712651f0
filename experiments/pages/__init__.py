"""Pages of HTML, and what is on them."""
