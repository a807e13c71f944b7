//go:build linux

package monitor

import (
	"context"
	"errors"
	"testing"
	"time"
)

// The error of a child process says what has happened, also if the end of the context has killed it.
func TestChildError(t *testing.T) {
	killed := errors.New("signal: killed")
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancelLate()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx    context.Context
		stderr string
		want   string
	}{
		{t.Context(), "", "signal: killed"},
		{t.Context(), "connecting to '/socket': permission denied\n", "connecting to '/socket': permission denied"},
		{late, "", "the daemon did not accept the connection in time"},
		{cancelled, "", "context canceled"},
	} {
		if got := childError(test.ctx, killed, test.stderr).Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
