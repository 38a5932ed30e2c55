"""Image generation and domain adaptation: the library behind the notebooks of the report."""
