"""A task of the user's own: a few labelled pictures of each class."""
