// Package deploy holds what is needed around the program, embedded so that `hostedmcp print` gives out what fits this
// version: the systemd unit, the alert rules with their tests, and the Grafana dashboard. It imports nothing of ours.
//
//	hostedmcp.service   print unit        hardened; what a stdio connector needs loosened stands in it
//	alerts.yml          print alerts      Prometheus rules; alerts_test.yml proves each with promtool
//	dashboard.json      print dashboard   Grafana, over a Prometheus data source of the reader's choice
//
// .ci/unit and .ci/promtool hold the three against systemd, Prometheus and a running binary.
package deploy
