"""Links from tasks to what they work on in the AWS console."""
