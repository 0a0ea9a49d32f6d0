"""Image data: digits, IDX files and image folders."""
