"""The set-up that is trained: a space, a learner and tasks put together."""
