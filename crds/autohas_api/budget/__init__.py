"""How a budget in trainings becomes steps per stage."""
