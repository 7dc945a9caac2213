"""What is trained: a space, a learner and tasks put together."""
