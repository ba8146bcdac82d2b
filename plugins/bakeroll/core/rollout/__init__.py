"""Moving fleets to a new image: the journal, one picture after the other, waves, drains, releases."""
