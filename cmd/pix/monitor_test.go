package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pix/monitor"
)

// exampleHandshake and exampleOperation are events of a connection.
var (
	exampleHandshake = &monitor.Event{Time: time.UnixMicro(1700000000123456), Conn: 1, Handshake: &monitor.Handshake{
		Version: "1.35", ClientVersion: "1.38", DaemonVersion: "1.35", ClientFeatures: []string{"queryPathInfos"}, Nix: "2.18.1", Trust: "trusted",
	}}
	exampleOperation = &monitor.Event{Time: time.UnixMicro(1700000000125000), Conn: 1, Operation: &monitor.Operation{
		Name: "IsValidPath", Number: 1, Request: "path=" + string(exampleOutput), Reply: "valid=true",
		Start: time.UnixMicro(1700000000124750), Latency: 250 * time.Microsecond, Up: 64, Down: 16, Messages: 1,
	}}
)

// These are the other events of the page, and the totals.
var (
	exampleConnect = &monitor.Event{Time: time.UnixMicro(1700000000123000), Conn: 1, Client: &monitor.Client{
		PID: 4711, UID: 1000, GID: 100, User: "ann", Command: []string{"nix", "build"},
	}}
	exampleRaw = &monitor.Event{Time: time.UnixMicro(1700000001000000), Conn: 1, Raw: &monitor.Raw{
		From: monitor.FromClient, Size: 16, Start: []byte("\x63\x00\x00\x00\x00\x00\x00\x00"),
	}}
	exampleClose = &monitor.Event{Time: time.UnixMicro(1700000002000000), Conn: 1, Close: &monitor.Close{
		By: monitor.FromClient, Up: 640, Down: 320, Operations: 1, Duration: 1500 * time.Millisecond,
	}}
	exampleSummary = monitor.Summary{Connections: 1, Up: 640, Down: 320, Operations: []monitor.OperationTotals{
		{Name: "IsValidPath", Count: 2, Time: 5 * time.Millisecond, Longest: 4 * time.Millisecond, Up: 128, Down: 32, Histogram: []int{0, 1, 1}},
	}}
)

// exampleMonitorSummary returns the output of monitor for the totals.
func exampleMonitorSummary(t *testing.T) string {
	text, err := json.Marshal(newMonitorSummaryJSON(exampleSummary))
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// exampleMonitor returns the output of monitor for an event.
func exampleMonitor(t *testing.T, e *monitor.Event) string {
	t.Helper()
	var b bytes.Buffer
	p := &monitorPrinter{w: &b, asJSON: true, filter: new(monitor.Filter)}
	p.event(e)
	if p.err != nil {
		t.Fatal(p.err)
	}
	return b.String()
}
