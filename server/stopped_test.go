package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/protocol"
	"pix/server"
)

// A client that reads nothing keeps the work from ending for half a minute at most: the work of a build holds a slot that
// other clients wait for. Messages are then dropped, until the client reads again.
func TestLogFloodForStoppedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lines, size = 1000, 10 << 10
		start := time.Now()
		worked, resume := make(chan time.Duration, 1), make(chan struct{})
		s, text, _ := newStore(t)
		c := dial(t, s, &server.Options{Before: func(ctx context.Context, _ protocol.Request) error {
			h := activity.HandlerOf(ctx)
			for range lines {
				h.HandleEvent(activity.Log{Text: strings.Repeat("x", size)})
			}
			worked <- time.Since(start)
			<-resume
			h.HandleEvent(activity.Log{Text: "the client reads again"})
			return nil
		}})
		c.send(&protocol.IsValidPathRequest{Path: text})
		if took := <-worked; took != 30*time.Second {
			t.Errorf("the work took %v", took)
		}
		done := make(chan error)
		go func() { done <- c.messages() }()
		synctest.Wait() // the client has read everything that was queued
		close(resume)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		heard := len(c.events) - 2
		again, last := c.events[heard].(activity.Log).Text, c.events[heard+1].(activity.Log).Text
		if want := fmt.Sprintf("%d messages were dropped, since they were not read in time", lines-heard); heard == 0 || again != "the client reads again" || last != want {
			t.Errorf("got %d lines, %.100q and %.100q; want %q", heard, again, last, want)
		}
	})
}
