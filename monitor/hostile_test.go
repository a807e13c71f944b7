package monitor_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"

	"pix/monitor"
)

const recordingHeader = "# recording of pix monitor: complete\n"

// control is a text that clears a terminal, reverses the reading order and looks like more lines.
const control = "a\u001b[2J\u009b2J\u202eb\nc\r\u2028d"

// escaped is control as a part of a JSON string.
const escaped = `a\u001b[2J\u009b2J\u202eb\nc\r\u2028d`

func checkShown(t *testing.T, text string, lines int) {
	t.Helper()
	if got := strings.Count(text, "\n"); got != lines {
		t.Errorf("%d lines in %q", got, text)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q contains %q", text, r)
		}
	}
}

// Every text in a recording can come from another user.
func TestHostileRecording(t *testing.T) {
	events := []string{
		`"client":{"pid":1,"uid":1,"gid":1,"user":"X","command":["X","X"]}`,
		`"failure":{"reason":"X"}`,
		`"handshake":{"clientVersion":"X","daemonVersion":"XX","version":"X","clientFeatures":["X"],"daemonFeatures":["X","X"],"nix":"X","trust":"X","error":"X"}`,
		`"operation":{"name":"X","number":1,"request":"X","reply":"X","latency":-5}`,
		`"operation":{"name":"X","number":1,"request":"X","error":"X","latency":9223372036854775807}`,
		`"operation":{"name":"X","number":1,"request":"X","unfinished":"X"}`,
		`"raw":{"reason":"X","from":"X","size":-1}`,
		`"raw":{"from":"daemon","size":1,"start":"G1syShsbGw=="}`,
		`"close":{"by":"X","reason":"X","up":-1,"down":-9223372036854775808,"operations":-1,"duration":-1}`,
	}
	var totals monitor.Totals
	for _, event := range events {
		for _, text := range []string{escaped, strings.Repeat(escaped, 1000)} {
			line := fmt.Sprintf(`#event {"time":"2026-01-02T03:04:05Z","connection":-1,%s}`, strings.ReplaceAll(event, "X", text))
			var got []*monitor.Event
			status, err := monitor.ReadRecording(strings.NewReader(recordingHeader+line+"\n"), func(e *monitor.Event) error {
				got = append(got, e)
				totals.Add(e)
				return nil
			})
			if err != nil || status != "complete" || len(got) != 1 {
				t.Fatalf("%s: %v, %s, %d events", line, err, status, len(got))
			}
			shown := got[0].String()
			if checkShown(t, shown, 0); len(shown) > 16<<10 {
				t.Errorf("%d bytes: %.100s", len(shown), shown)
			}
		}
	}
	summary := totals.Summary().String()
	checkShown(t, summary, strings.Count(summary, "\n"))
	if strings.Count(summary, "\n") != 4 {
		t.Errorf("got %q", summary)
	}
}

// The status and errors of a hostile recording are short and cannot control a terminal.
func TestHostileStatus(t *testing.T) {
	long := strings.Repeat("9", 1<<20)
	for _, file := range []string{
		"# recording of pix monitor: " + control + "\n",
		"# recording of pix monitor: " + strings.Repeat("\x1b", 1<<20) + "\n",
		recordingHeader + "#event {}\n",
		recordingHeader + `#event {"failure":{},"raw":{}}` + "\n",
		recordingHeader + `#event {"connection":` + long + "}\n",
		recordingHeader + `#event {"time":"` + strings.Repeat(escaped, 10000) + `"}` + "\n",
		recordingHeader + "#event " + control + "\n",
		recordingHeader + "#event " + strings.Repeat("[", 1<<20) + "\n",
		long + " " + long + " → x\n", "01:02:03 " + long + " → x\n", "\x00\x1b[2J " + control, long,
	} {
		status, err := monitor.ReadRecording(strings.NewReader(file), func(*monitor.Event) error { return nil })
		text := fmt.Sprint(err)
		checkShown(t, status, 0)
		checkShown(t, text, 0)
		if len(status)+len(text) > 10<<10 {
			t.Errorf("%.100s: %d bytes", file, len(status)+len(text))
		}
	}
}

// repeated is a reader of n copies of a text.
type repeated struct {
	text string
	n    int
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n--; r.n < 0 {
			return 0, io.EOF
		}
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// A trace whose requests have no replies does not fill the memory. Closed connections give it back.
func TestTraceMemory(t *testing.T) {
	request := "01:02:03.000004 1 → Name " + strings.Repeat("x", 500) + "\n"
	ignore := func(*monitor.Event) error { return nil }
	if _, err := monitor.ReadRecording(&repeated{text: request, n: 80_000}, ignore); err == nil {
		t.Error("80,000 requests without a reply are no error")
	}
	closed := request + "01:02:03.000004 1 × closed by the client: EOF\n"
	if _, err := monitor.ReadRecording(&repeated{text: closed, n: 80_000}, ignore); err != nil {
		t.Error(err)
	}
}

func FuzzReadRecording(f *testing.F) {
	for _, seed := range []string{
		recordingHeader + `#event {"time":"2026-01-02T03:04:05Z","connection":1,"client":{"pid":1,"uid":1,"gid":1}}` + "\n",
		recordingHeader + `#event {"connection":1,"operation":{"name":"x","latency":5}}` + "\n#event {\"close\":{\"by\":\"daemon\"}}\n",
		"01:02:03.000004 1 → IsValidPath path=/x\n01:02:03.000004 1 ← Last\n01:02:03.000004 1 ← IsValidPath valid=true\n01:02:03.000004 1 × closed by the client: EOF\n",
		"01:02:03.000004 1 ← greeting version=1.38 daemon-version=1.38 nix=2.3 trust=unknown\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var totals monitor.Totals
		filter := monitor.Filter{Text: "x"}
		status, err := monitor.ReadRecording(bytes.NewReader(b), func(e *monitor.Event) error {
			filter.Select(e)
			totals.Add(e)
			checkShown(t, e.String(), 0)
			return nil
		})
		checkShown(t, status, 0)
		checkShown(t, fmt.Sprint(err), 0)
		_ = totals.Summary().String()
	})
}
