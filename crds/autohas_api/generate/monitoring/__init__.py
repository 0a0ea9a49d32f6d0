"""What watches the searches, as code: two Grafana dashboards and the alerts. `make sync` writes them into the chart.

The names of metrics stand here and in the two exporters (`autohas_trainer.reporting.http.metrics`, `autohas_operator.metrics` and
`autohas_operator.process.search_metrics`); a test runs every query against a real Prometheus and fails where nothing answers.
"""
