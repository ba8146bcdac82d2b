"""A stand-in for Fluentd where its Ruby gem cannot be had.

It tails one log file, keeps what it read in a buffer on disk, and sends it to an HTTP collector when it is
told to flush. Its HTTP endpoints, its pos_file and the numbers it reports are Fluentd's own, so whatever
drains this drains Fluentd: https://docs.fluentd.org/deployment/rpc, https://docs.fluentd.org/input/monitor_agent,
https://docs.fluentd.org/input/tail.
"""
