"""The task source `folder`: a folder of the user's own pictures, divided into tasks."""
