"""A folder of the user's own pictures that is one task: the task source `pictures`."""
