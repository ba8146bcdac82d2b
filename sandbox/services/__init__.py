"""The API actions the sandbox answers itself: one handler per action, in botocore's shapes."""
