package activity_test

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"

	"pix/activity"
)

func ExampleWithHandler() {
	ctx := activity.WithHandler(context.Background(), activity.HandlerFunc(func(e activity.Event) {
		if line, ok := activity.Line(e); ok {
			fmt.Println(line)
		}
	}))
	// Calls with ctx report their events to the handler, as the next lines do.
	h := activity.HandlerOf(ctx)
	h.HandleEvent(activity.Start{ID: 1, Type: activity.Build, Text: "building hello"})
	h.HandleEvent(activity.Result{ID: 1, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text("checking for gcc... yes")}})
	h.HandleEvent(activity.Stop{ID: 1})
	// Output: checking for gcc... yes
}

func TestHandlerOfEmptyContext(t *testing.T) {
	if h := activity.HandlerOf(t.Context()); h != nil {
		t.Errorf("a context without a handler has %v", h)
	}
}

func TestPlain(t *testing.T) {
	for s, want := range map[string]string{
		"":                          "",
		"plain":                     "plain",
		"\x1b[31;1merror:\x1b[0m x": "error: x",
		"a\x1b]0;title\x07b":        "ab",
		"a\x1b]0;title\x1b\\b":      "ab",
		"a\x1bcb":                   "ab",
		"a\x1b[31":                  "a",
		"a\x1b":                     "a",
		"two\nlines\tand a tab":     "two\nlines\tand a tab",
		"over\rwritten\x08\x7f":     "overwritten",
		"é\xff":                     "é\xff",
		"a\u009b31mb\u0080":         "a31mb",
		"\xc2\xc2\x9b\x9b":          "",
		"\xc2\x01\x9b":              "",
	} {
		if got := activity.Plain(s); got != want {
			t.Errorf("Plain(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestError(t *testing.T) {
	e := &activity.Error{Message: "\x1b[31mbuild failed\x1b[0m", Traces: []string{"while building"}}
	if e.Error() != "build failed" {
		t.Errorf("%q", e.Error())
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		event activity.Event
		want  string
		ok    bool
	}{
		{activity.Log{Text: "x"}, "x", true},
		{activity.Result{Type: activity.PostBuildLogLine, Fields: []activity.Field{activity.Text("y")}}, "y", true},
		{activity.Result{Type: activity.BuildLogLine}, "", false},
		{activity.Result{Type: activity.BuildLogLine, Fields: []activity.Field{activity.Number(1)}}, "", false},
		{activity.Result{Type: activity.Progress, Fields: []activity.Field{activity.Number(1)}}, "", false},
		{activity.Start{Text: "x"}, "", false},
		{activity.Stop{}, "", false},
	} {
		if got, ok := activity.Line(c.event); got != c.want || ok != c.ok {
			t.Errorf("Line(%#v) = %q, %v", c.event, got, ok)
		}
	}
}

func TestNames(t *testing.T) {
	if activity.Build.String() != "build" || activity.Type(7).String() != "Type(7)" ||
		activity.Progress.String() != "progress" || activity.ResultType(7).String() != "ResultType(7)" ||
		activity.LevelVomit.String() != "vomit" || activity.Verbosity(8).String() != "Verbosity(8)" {
		t.Error("a name is wrong")
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("\x1b[31mx")
	f.Fuzz(func(t *testing.T, s string) {
		plain := activity.Plain(s)
		if strings.ContainsAny(plain, "\x1b\r\x00\x7f\u009b\u0090") || activity.Plain(plain) != plain {
			t.Errorf("Plain(%q) = %q", s, plain)
		}
	})
}

func TestProgressReader(t *testing.T) {
	var got []activity.Event
	h := activity.HandlerFunc(func(e activity.Event) { got = append(got, e) })
	id := activity.NewID()
	if again := activity.NewID(); again == id || again < 1<<63 || id < 1<<63 {
		t.Errorf("NewID returned %d and %d", id, again)
	}
	r := activity.ProgressReader(h, id, strings.NewReader(strings.Repeat("x", 150<<10)), 0)
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 50<<10)); n != 150<<10 || err != nil {
		t.Fatal(n, err)
	}
	want := []activity.Event{progressOf(id, 100<<10), progressOf(id, 150<<10)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func progressOf(id activity.ID, n uint64) activity.Event {
	zero := activity.Number(0)
	return activity.Result{ID: id, Type: activity.Progress, Fields: []activity.Field{activity.Number(n), zero, zero, zero}}
}

// A Sequencer serialises events from several goroutines and drops those after End.
func TestSequencer(t *testing.T) {
	var got []activity.Event
	s := activity.NewSequencer(activity.HandlerFunc(func(e activity.Event) { got = append(got, e) }))
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for range 100 {
				s.HandleEvent(activity.Log{Text: "x"})
			}
		})
	}
	senders.Wait()
	s.End(activity.Log{Text: "last"})
	s.HandleEvent(activity.Log{Text: "too late"})
	if len(got) != 801 || got[800] != (activity.Log{Text: "last"}) {
		t.Errorf("%d events, the last is %v", len(got), got[len(got)-1])
	}
}
