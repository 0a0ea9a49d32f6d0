"""What a resume needs: checkpoints, tensors on disk, what the search was begun with, how many processes worked on it."""
