"""The task source `pictures`: a folder of the user's own pictures as one task."""
