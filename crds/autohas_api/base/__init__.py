"""What the other rooms are made of: models and rules, names, sentences about wrong fields, readers of YAML, numbers and text."""
