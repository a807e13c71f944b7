package server_test

import (
	"strings"
	"testing"

	"pix/activity"
	"pix/protocol"
)

// An untrusted user sets nothing long: settings are kept as long as the connection.
func TestLongSetting(t *testing.T) {
	s, _, _ := newStore(t)
	c := dial(t, s, nil)
	must[*protocol.None](c, &protocol.SetOptionsRequest{Overrides: map[string]string{"timeout": strings.Repeat("0", 100), "connect-timeout": "5"}}, nil)
	var lines []string
	for _, e := range c.events {
		lines = append(lines, e.(activity.Log).Text)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "'timeout'") {
		t.Errorf("it says %q", lines)
	}
}
