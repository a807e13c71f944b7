package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/wire"
)

// refused checks that an error comes twice and is followed by a hang-up.
func (c *client) refused(why string) {
	c.t.Helper()
	for range 2 {
		m, err := c.params.ReadMessage(c.in)
		if err != nil || m.Kind != protocol.MessageError || !strings.Contains(m.Err.Message, why) {
			c.t.Errorf("%+v, %v; want the error %q", m, err, why)
		}
	}
	if err := c.in.Peek(); err != io.EOF {
		c.t.Errorf("after the error: %v, want the end", err)
	}
}

func TestUnreadableRequest(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		why  string
	}{
		"unknown operation":  {wire.AppendUint64(nil, 5), "invalid operation"},
		"during a build":     {wire.AppendUint64(nil, uint64(protocol.SubmitOutput)), "invalid operation"},
		"foreign store path": {wire.AppendString(wire.AppendUint64(nil, 1), "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"), "/gnu/store"},
		"no store path":      {wire.AppendString(wire.AppendUint64(nil, 1), "/nix/store/x"), "/nix/store/x"},
		"absurd length":      {wire.AppendUint64(wire.AppendUint64(nil, 1), 1<<62), "limit"},
		"absurd list":        {wire.AppendUint64(wire.AppendUint64(nil, 31), 1<<62), "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := newStore(t)
			c, conn := c, dial(t, s, trusted)
			conn.nc.Write(c.sent)
			conn.refused(c.why)
			if err := conn.hangUp(); err == nil {
				t.Error("Serve returned no error")
			}
		})
	}
}

func TestGreeting(t *testing.T) {
	s, _, _ := newStore(t)
	for _, opts := range []*server.Options{nil, {Trusted: true, NixVersion: "2.99"}} {
		c := dial(t, s, opts)
		wantTrust, wantVersion := protocol.NotTrusted, "2.34.8-pix"
		if opts != nil {
			wantTrust, wantVersion = protocol.Trusted, opts.NixVersion
		}
		if c.greet.Trust != wantTrust || c.greet.NixVersion != wantVersion || c.params.Version != protocol.MaxVersion || c.params.Features != protocol.AllFeatures {
			t.Errorf("%+v, %+v", c.greet, c.params)
		}
	}
}

func TestSettings(t *testing.T) {
	var got []*protocol.SetOptionsRequest
	s, text, _ := newStore(t)
	for _, trust := range []bool{false, true} {
		c := dial(t, s, &server.Options{Trusted: trust, Substituters: []string{"https://a.example/", "file:///b"}, Before: func(ctx context.Context, req protocol.Request) error {
			if req.Op() == protocol.IsValidPath {
				got = append(got, server.SettingsOf(ctx))
			}
			return nil
		}})
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		must[*protocol.None](c, &protocol.SetOptionsRequest{MaxSilentTime: 7, Overrides: map[string]string{
			"timeout": "5", "builders": "", "sandbox": "false", "substituters": "file:///b https://evil.example https://a.example file:///b", "plugin-files": "evil.so", "experimental-features": "all",
		}}, nil)
		var warnings []string
		for _, e := range c.events {
			warnings = append(warnings, e.(activity.Log).Text)
		}
		if want := 2; !trust && (len(warnings) != want || !strings.Contains(warnings[1], "untrusted substituter 'https://evil.example', you") || !strings.Contains(warnings[0], "ignoring the client-specified setting 'sandbox', because it is a restricted setting and you are not a trusted user")) {
			t.Errorf("warnings: %q", warnings)
		} else if trust && len(warnings) != 0 {
			t.Errorf("warnings to a trusted user: %q", warnings)
		}
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
	}
	if chosen := got[1].Overrides["substituters"]; chosen != "file:///b https://a.example" {
		t.Errorf("an untrusted client has chosen %q", chosen)
	}
	for i, want := range []int{-1, 3, -1, 4} {
		if got[i] == nil && want >= 0 || got[i] != nil && (len(got[i].Overrides) != want || got[i].MaxSilentTime != 7) {
			t.Errorf("settings %d: %+v, want %d overrides", i, got[i], want)
		}
	}
}

func TestCensoredRoots(t *testing.T) {
	s, text, _ := newStore(t)
	if err := s.AddTempRoot(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	links := func(opts *server.Options) (links []string) {
		c := dial(t, s, opts)
		for _, root := range must[*protocol.FindRootsReply](c, &protocol.FindRootsRequest{}, nil).Roots {
			links = append(links, root.Link)
		}
		return links
	}
	if got := links(nil); !slices.Equal(got, []string{"{censored}"}) {
		t.Errorf("%q", got)
	}
	if got := links(trusted); !slices.Equal(got, []string{"{temp}"}) {
		t.Errorf("%q", got)
	}
}

// Temporary roots and added objects are protected as long as the connection exists.
func TestTempRootsEndWithTheConnection(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, s, trusted)
	must[*protocol.Ack](c, &protocol.AddTempRootRequest{Path: text}, nil)
	dead := func() []string {
		result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCReturnDead})
		if err != nil {
			t.Fatal(err)
		}
		return result.Paths
	}
	if slices.Contains(dead(), string(text)) {
		t.Error("an object with a temporary root was collected")
	}
	c.hangUp()
	if !slices.Contains(dead(), string(text)) {
		t.Error("a temporary root outlives its connection")
	}
}

func TestErrorOfAnotherDaemonIsPassedOn(t *testing.T) {
	s, text, _ := newStore(t)
	theirs := &activity.Error{Level: activity.LevelWarn, Message: "\x1b[31mno\x1b[0m", Traces: []string{"while trying"}}
	c := dial(t, s, &server.Options{Before: func(context.Context, protocol.Request) error { return fmt.Errorf("asking: %w", theirs) }})
	_, err := c.ask(&protocol.IsValidPathRequest{Path: text}, nil)
	var said *activity.Error
	if !errors.As(err, &said) || said.Message != theirs.Message || said.Level != theirs.Level || !slices.Equal(said.Traces, theirs.Traces) {
		t.Errorf("%+v", said)
	}
}

// Events of the store come before the reply, in every version. Events after the work are
// dropped.
func TestEvents(t *testing.T) {
	s, text, _ := newStore(t)
	events := []activity.Event{
		activity.Log{Text: "hello"},
		activity.Start{ID: 1, Type: activity.Build, Text: "building", Fields: []activity.Field{activity.Text("x"), activity.Number(1)}},
		activity.Result{ID: 1, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text("line")}},
		activity.Stop{ID: 1},
	}
	for minor, want := range map[uint8]int{19: 2, 20: 4, 38: 4} {
		var h activity.Handler
		c := dial(t, s, &server.Options{Version: protocol.MakeVersion(minor), Before: func(ctx context.Context, _ protocol.Request) error {
			if h == nil {
				h = activity.HandlerOf(ctx)
			}
			for _, e := range events {
				h.HandleEvent(e)
			}
			return nil
		}})
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		if len(c.events) != want {
			t.Errorf("1.%d: %v", minor, c.events)
		}
		h.HandleEvent(activity.Log{Text: "too late"})
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		if len(c.events) != want {
			t.Errorf("1.%d, second request: %v", minor, c.events)
		}
	}
}

// Lines are sent up to the verbosity that the client has set.
func TestVerbosity(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, s, &server.Options{Before: func(ctx context.Context, _ protocol.Request) error {
		for level := activity.LevelError; level <= activity.LevelVomit; level++ {
			activity.HandlerOf(ctx).HandleEvent(activity.Log{Level: level, Text: level.String()})
		}
		return nil
	}})
	heard := func() (lines []string) {
		must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: text}, nil)
		for _, e := range c.events {
			lines = append(lines, e.(activity.Log).Text)
		}
		return lines
	}
	if got := heard(); !slices.Equal(got, []string{"error", "warn", "notice", "info"}) {
		t.Errorf("%q", got)
	}
	must[*protocol.None](c, &protocol.SetOptionsRequest{Verbosity: activity.LevelWarn}, nil)
	if got := heard(); !slices.Equal(got, []string{"error", "warn"}) {
		t.Errorf("%q", got)
	}
}
