"""The operator: turns AutoHASSearch resources into trainer Jobs and their ends into results."""
