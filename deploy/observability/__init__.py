"""What is watched, and how: Prometheus, Alertmanager, a dashboard, and the runbook."""
