"""Base of the other packages: models and rules, constants, error messages about fields, YAML reading, numbers and text."""
