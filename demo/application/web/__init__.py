"""The demo's web application: a small HTTP/1.1 server that logs one line for every request it answers."""
