"""Trainings of one network: the task, the step's rule, comparisons, what a candidate's code adds, the score on the test split."""
