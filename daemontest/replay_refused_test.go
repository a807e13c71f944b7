package daemontest_test

import (
	"errors"
	"strings"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
)

// An upload that the daemon refused before it read the frames is refused again, and the
// connection is lost, whether the daemon hung up before or after the client's check.
func TestReplayRefusedUpload(t *testing.T) {
	const begin = `15:04:05.000000 1 ← greeting version=1.38 negotiated=1.38 features=[] store-dir=/nix/store nix=2.34.8 trust=trusted
15:04:05.000000 1 ← Last
15:04:05.000000 1 → AddToStore name=x method-and-algorithm=fixed:blake3 references=[] repair=false
15:04:05.000000 1 → body data="hello"
15:04:05.000000 1 ← Error level=error message="no blake3" traces=[]
`
	const invalid = `15:04:05.000000 1 ← Error level=error message="invalid operation 2" traces=[]
`
	probe := "15:04:05.000000 1 → IsValidPath path=" + string(daemon.ProbePath(storepath.DefaultDir)) + "\n"
	const end = "15:04:05.000000 1 × closed by=daemon why=x\n"
	for name, c := range map[string]struct {
		trace string
		lost  bool
	}{
		"it hung up before":       {begin + invalid + invalid + end, true},
		"it hung up after":        {begin + probe + invalid + invalid + end, true},
		"it did not answer":       {begin + probe + end, true},
		"it did not hang up":      {begin + probe + "15:04:05.000000 1 ← Last\n15:04:05.000000 1 ← IsValidPath valid=false\n", false},
		"the client did not ask":  {begin, false},
		"it goes on without that": {begin + "15:04:05.000000 1 → SyncWithGC\n15:04:05.000000 1 ← Last\n15:04:05.000000 1 ← SyncWithGC\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := daemon.DialTransport(t.Context(), daemontest.Replay(t, strings.NewReader(c.trace), nil), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = conn.AddToStore(t.Context(), "x", storepath.Flat, nixhash.BLAKE3, nil, strings.NewReader("hello"), nil)
			if err == nil || err.Error() != "no blake3" {
				t.Errorf("AddToStore: %v", err)
			}
			if lost := conn.Err() != nil; lost != c.lost {
				t.Errorf("the connection's error is %v", conn.Err())
			}
			if strings.Contains(c.trace, "SyncWithGC") {
				if err := conn.SyncWithGC(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// An invalid or incomplete trace is refused with line and column.
func TestReplayRefused(t *testing.T) {
	const greeting = "15:04:05.000000 1 ← greeting version=1.38 negotiated=1.38 features=[] store-dir=/nix/store nix=x trust=trusted\n15:04:05.000000 1 ← Last\n"
	const asked = greeting + "15:04:05.000000 1 → IsValidPath path=" + string(somePath) + "\n"
	for _, c := range []struct {
		trace        string
		line, column int
		what         string
	}{
		{"nonsense", 1, 1, `"nonsense" is not a time of day`},
		{"# only\n\n15:04:05.000000 one ← Last\n", 3, 17, `"one" is not a number`},
		{"15:04:05.000000 1 ← Last\n", 1, 23, `"Last" instead of "greeting"`},
		{"15:04:05.000000 1 → SyncWithGC\n", 1, 23, "the greeting of the daemon is missing"},
		{asked + "15:04:05.000000 1 ? Last\n", 4, 21, `"?" is not a direction`},
		{asked + "15:04:05.000000 1 ← IsValidPath valid=true\n", 4, 23, `message: kind: "IsValidPath" is not a kind of message`},
		{asked + "15:04:05.000000 1 ← Last\n15:04:05.000000 1 ← QueryReferrers paths=[]\n", 5, 23, "a reply to QueryReferrers, but the request in line 3 is IsValidPath"},
		{asked + "15:04:05.000000 1 → body data=x\n", 4, 23, "no request has a body here"},
		{asked + "15:04:05.000000 1 ← Log text=\"x\"…(2 bytes)\n", 4, 32, "the text was cut; record it in full (daemon.Options.TraceBody: -1, pix --trace-bodies, or pix monitor --bodies)"},
		{asked + "15:04:05.000000 1 × closed by=client why=x\n15:04:05.000000 1 ← Last\n", 5, 23, "the connection was closed before"},
	} {
		said := new(judge)
		err := func() (err error) {
			defer func() { err, _ = recover().(error) }()
			daemontest.Replay(said, strings.NewReader(c.trace), nil)
			return nil
		}()
		var e *protocol.TraceError
		if !errors.As(err, &e) || e.Line != c.line || e.Column != c.column || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%v\ninstead of line %d, column %d, %s", err, c.line, c.column, c.what)
		}
	}
}
