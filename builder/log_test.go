package builder

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pix/activity"
)

// logOf returns the log of a builder that prints chunks, and the events.
func logOf(t *testing.T, chunks ...string) (*buildLog, []activity.Event) {
	t.Helper()
	var events []activity.Event
	l := &buildLog{file: &bytes.Buffer{}, id: 7, most: 3, onWrite: func(uint64) error { return nil }, events: activity.HandlerFunc(func(e activity.Event) { events = append(events, e) })}
	for _, chunk := range chunks {
		if n, err := l.Write([]byte(chunk)); err != nil || n != len(chunk) {
			t.Fatal(n, err)
		}
	}
	l.end()
	if got := l.file.(*bytes.Buffer).String(); got != strings.Join(chunks, "") {
		t.Errorf("the file has %q", got)
	}
	return l, events
}

// linesOf returns the lines of the log among events.
func linesOf(events []activity.Event) (lines []string) {
	for _, e := range events {
		if r, ok := e.(activity.Result); ok && r.Type == activity.BuildLogLine {
			line, _ := r.Fields[0].Text()
			lines = append(lines, line)
		}
	}
	return lines
}

func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", maxLogLine)
	for _, test := range []struct {
		chunks []string
		lines  []string
	}{
		{[]string{"a\nb\n"}, []string{"a", "b"}},
		{[]string{"a", "b\n", "no newline"}, []string{"ab", "no newline"}},
		{[]string{"a\n\n"}, []string{"a", ""}},
		{[]string{"progress 1\rprogress 2\n"}, []string{"progress 2"}},
		{[]string{"progress 10\rdone\n"}, []string{"done"}},
		{[]string{"a\rbc\r\n"}, []string{"bc"}},
		{[]string{"ab\r", "\nc\r", "d\n"}, []string{"ab", "d"}},
		{[]string{"ab\r\r\n"}, []string{""}},
		{[]string{"ab\r"}, []string{"ab"}},
		{[]string{"a\x00b\xff\n"}, []string{"a\x00b\xff"}},
		{[]string{long + "y\n"}, []string{long, "y"}},
		{nil, nil},
	} {
		l, events := logOf(t, test.chunks...)
		if got := linesOf(events); !slices.Equal(got, test.lines) {
			t.Errorf("%.40q: the lines are %.80q, not %.80q", test.chunks, got, test.lines)
		}
		if want := test.lines[max(0, len(test.lines)-3):]; !slices.Equal(l.tail, want) {
			t.Errorf("%.40q: the tail is %.80q", test.chunks, l.tail)
		}
	}
}

func TestLogTail(t *testing.T) {
	l, _ := logOf(t, "1\n2\n3\n4\n5\n")
	if want := []string{"3", "4", "5"}; !slices.Equal(l.tail, want) {
		t.Errorf("the tail is %q", l.tail)
	}
	l, _ = logOf(t, strings.Repeat(strings.Repeat("x", maxLogLine-1)+"\n", 4))
	if len(l.tail) != 2 {
		t.Errorf("the tail has %d long lines", len(l.tail))
	}
	l, _ = logOf(t, "")
	l.most = 1 << 30
	for range 1 << 20 {
		l.add('\n')
	}
	if len(l.tail) > maxLogTail/16 {
		t.Errorf("the tail has %d empty lines", len(l.tail))
	}
}

func TestLogMessages(t *testing.T) {
	for _, test := range []struct {
		message string
		line    bool   // it counts as a line
		want    string // the event
	}{
		{`{"action":"setPhase","phase":"p1"}`, false, "Result 7 SetPhase [\"p1\"]"},
		{`{"action":"msg","level":0,"msg":"injected"}`, false, "Log 0 injected"},
		{`{"action":"start","id":5,"level":0,"type":105,"text":"t"}`, false, ""},
		{`{"action":"start","id":5,"level":3,"type":101,"text":"t","fields":["u",1]}`, false, "Start 3 FileTransfer t [\"u\" 1] 7"},
		{`{"action":"stop","id":5}`, false, ""},
		{`{"action":"result","id":5,"type":105,"fields":[1,2]}`, false, ""},
		{`{"action":"unknown"}`, false, ""},
		{`{}`, true, "Log 1 warning: Unable to handle a JSON message from the derivation builder: 'action' is not a string"},
		{`5`, true, "Log 1 warning: Unable to handle a JSON message from the derivation builder: it is not an object"},
		{`{"action":"msg","level":"0","msg":"x"}`, true, "Log 1 warning: Unable to handle a JSON message from the derivation builder: 'level' is not a number"},
		{`{"action":"msg","level":-1,"msg":"x"}`, true, "Log 1 warning: Unable to handle a JSON message from the derivation builder: 'level' is not a number"},
		{`{"action":"start","id":5,"level":0,"type":101,"text":"t","fields":[{}]}`, true, "Log 1 warning: Unable to handle a JSON message from the derivation builder: 'fields' is not a list of strings and numbers"},
		{`{"Action":"msg","level":0,"msg":"x"}`, true, "Log 1 warning: Unable to handle a JSON message from the derivation builder: 'action' is not a string"},
		{`bad`, true, "Log 0 bad JSON log message from the derivation builder: invalid character 'b' looking for beginning of value"},
		{`{} x`, true, "Log 0 bad JSON log message from the derivation builder: something follows the message"},
		{"{\"action\":\"msg\",\"level\":0,\"msg\":\"\xff\"}", true, "Log 0 bad JSON log message from the derivation builder: it is not UTF-8"},
	} {
		_, events := logOf(t, "@nix "+test.message+"\n")
		if isLine := len(linesOf(events)) == 1; isLine != test.line {
			t.Errorf("%s counts as a line: %v", test.message, isLine)
		}
		if got := firstEvent(events); got != test.want {
			t.Errorf("%s: the event is %q, not %q", test.message, got, test.want)
		}
	}
}

// firstEvent describes the first event that is not a line of the log.
func firstEvent(events []activity.Event) string {
	for _, e := range events {
		switch e := e.(type) {
		case activity.Log:
			return fmt.Sprint("Log ", uint32(e.Level), " ", e.Text)
		case activity.Start:
			return fmt.Sprint("Start ", uint32(e.Level), " FileTransfer ", e.Text, " ", e.Fields, " ", uint64(e.Parent))
		case activity.Result:
			if e.Type == activity.SetPhase {
				return fmt.Sprint("Result ", uint64(e.ID), " SetPhase ", e.Fields)
			}
		}
	}
	return ""
}

// A builder that starts downloads and does not end them leaves no activity behind, and cannot start any number.
func TestNestedActivities(t *testing.T) {
	var text strings.Builder
	for id := range 2 * maxNested {
		fmt.Fprintf(&text, `@nix {"action":"start","id":%d,"level":3,"type":101,"text":"t"}`+"\n", uint64(1)<<60+uint64(id))
	}
	fmt.Fprintf(&text, `@nix {"action":"result","id":%d,"type":105,"fields":[1]}`+"\n", uint64(1)<<60+1)
	fmt.Fprintf(&text, `@nix {"action":"stop","id":%d}`+"\n", uint64(1)<<60)
	_, events := logOf(t, text.String())
	running := map[activity.ID]bool{}
	starts, results := 0, 0
	for _, e := range events {
		switch e := e.(type) {
		case activity.Start:
			running[e.ID] = true
			starts++
		case activity.Stop:
			if !running[e.ID] {
				t.Error("an activity ends that does not run")
			}
			delete(running, e.ID)
		case activity.Result:
			if !running[e.ID] {
				t.Error("a result of an activity that does not run")
			}
			results++
		}
	}
	if starts != maxNested || results != 1 || len(running) > 0 {
		t.Errorf("%d starts, %d results, %d activities are left", starts, results, len(running))
	}
}

func TestLogLimit(t *testing.T) {
	l := &buildLog{events: activity.HandlerFunc(func(activity.Event) {}), maxSize: 10, onWrite: func(uint64) error { return nil }}
	if _, err := l.Write([]byte("0123456789")); err != nil {
		t.Error(err)
	}
	if _, err := l.Write([]byte("x")); !errors.Is(err, errLogLimit) {
		t.Errorf("the error is %v", err)
	}
}

func TestDescribeExit(t *testing.T) {
	for _, test := range []struct {
		code, signal int
		want         string
	}{
		{7, 0, "failed with exit code 7"}, {255, 0, "failed with exit code 255"}, {-1, 9, "failed due to signal 9 (Killed)"},
		{-1, 11, "failed due to signal 11 (Segmentation fault)"}, {-1, 15, "failed due to signal 15 (Terminated)"},
		{-1, 31, "failed due to signal 31 (Bad system call)"}, {-1, 40, "failed due to signal 40 (Real-time signal 6)"},
		{-1, 32, "failed due to signal 32 (Unknown signal 32)"}, {-1, 0, "died abnormally"},
	} {
		if got := describeExit(test.code, test.signal); got != test.want {
			t.Errorf("%d, %d: %q", test.code, test.signal, got)
		}
	}
}
