"""A folder of the user's own pictures, divided into tasks: the task source `folder`."""
