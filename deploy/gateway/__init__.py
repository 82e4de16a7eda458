"""The gateway: one address before several replicas. Its Envoy's configuration is the chart's ``files/gateway.yaml``."""
