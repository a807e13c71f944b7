package server_test

import (
	"strings"
	"testing"

	"pix/activity"
	"pix/protocol"
)

// An untrusted user cannot set long values: settings are kept as long as the connection.
func TestLongSetting(t *testing.T) {
	s, _, _ := newStore(t)
	c := dial(t, s, nil)
	must[*protocol.None](c, &protocol.SetOptionsRequest{Overrides: map[string]string{"timeout": strings.Repeat("0", 100), "connect-timeout": "5"}}, nil)
	var lines []string
	for _, e := range c.events {
		lines = append(lines, e.(activity.Log).Text)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "'timeout'") {
		t.Errorf("the client got %q", lines)
	}
}

// The settings of a trusted user are limited, too: each connection keeps its own.
func TestManySettings(t *testing.T) {
	s, _, _ := newStore(t)
	c := dial(t, s, trusted)
	must[*protocol.None](c, &protocol.SetOptionsRequest{Overrides: map[string]string{"trusted-public-keys": strings.Repeat("x", 60<<10)}}, nil)
	if _, err := c.ask(&protocol.SetOptionsRequest{Overrides: map[string]string{"trusted-public-keys": strings.Repeat("x", 70<<10)}}, nil); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("%v", err)
	}
	must[*protocol.Ack](c, &protocol.SyncWithGCRequest{}, nil)
}
