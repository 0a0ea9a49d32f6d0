"""Numbers over decisions: the policy that samples them, the recipe they mean, the objective they are judged by. No torch."""
