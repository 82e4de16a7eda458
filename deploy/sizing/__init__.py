"""How many replicas a target rate and 99th percentile take, from what one was measured to do."""
