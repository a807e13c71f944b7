package daemontest_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pix/daemon"
	"pix/daemontest"
)

// recordMemory returns the trace of calling use with a daemon that has a store in memory.
func recordMemory(t *testing.T, opts *daemontest.Options, use func(ctx context.Context, p *daemon.Pool)) string {
	t.Helper()
	var trace bytes.Buffer
	p, err := daemon.Open(t.Context(), daemontest.New(t, opts), &daemon.Options{Trace: &trace, TraceBody: -1})
	if err != nil {
		t.Fatal(err)
	}
	use(t.Context(), p)
	p.Close()
	return trace.String()
}

// replayMemory replays a trace for use, and returns the result of the test.
func replayMemory(t *testing.T, trace string, opts *daemontest.ReplayOptions, use func(ctx context.Context, p *daemon.Pool)) string {
	t.Helper()
	said := new(judge)
	said.ctx = t.Context()
	r := daemontest.Replay(said, strings.NewReader(trace), opts)
	p, err := daemon.Open(t.Context(), daemon.Unix{Path: r.Socket()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	use(t.Context(), p)
	p.Close()
	said.end()
	return strings.Join(said.errors, "\n")
}

// A judge is a test that only records its result.
type judge struct {
	fakeT
	mu     sync.Mutex
	errors []string
}

func (j *judge) Error(args ...any) { j.Errorf("%s", fmt.Sprint(args...)) }

func (j *judge) Errorf(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.errors = append(j.errors, fmt.Sprintf(format, args...))
}

func (j *judge) Failed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.errors) > 0
}
