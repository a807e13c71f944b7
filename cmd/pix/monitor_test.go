package main

import (
	"bytes"
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
