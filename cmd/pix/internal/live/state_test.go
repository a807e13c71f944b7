package live

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pix/activity"
)

// The messages of each version of Nix about a failed build, in their order.
func TestFailureOfEachNix(t *testing.T) {
	drv := drvOf("bad")
	for _, c := range []struct {
		nix     string
		fail    func(s *script)
		blocked string // the message about the build that depends on it
		reason  string
	}{
		{"2.3", func(s *script) {
			s.log("oh no") // Nix 2.3 sends each line twice
			s.logs("bad", "oh no")
			s.log("builder for '" + drv + "' failed with exit code 3")
			s.progress("builds", 1, 3, 0, 1)
			s.stop("bad")
		}, "cannot build derivation '" + drvOf("top") + "': 1 dependencies couldn't be built", "builder failed with exit code 3"},
		{"2.8", func(s *script) {
			s.logs("bad", "oh no")
			s.progress("builds", 1, 3, 0, 1)
			s.log("\x1b[31;1merror:\x1b[0m builder for '\x1b[35;1m" + drv + "\x1b[0m' failed with exit code 3;\n       last 1 log lines:\n       > oh no\n       For full logs, run 'nix log " + drv + "'.")
			s.stop("bad")
		}, "\x1b[31;1merror:\x1b[0m \x1b[35;1m1\x1b[0m dependencies of derivation '" + drvOf("top") + "' failed to build", "builder failed with exit code 3"},
		{"2.34", func(s *script) {
			s.logs("bad", "oh no")
			s.progress("builds", 1, 3, 0, 1)
			s.stop("bad")
			s.log("error: Cannot build '" + drv + "'.\n       Reason: \x1b[31mbuilder failed with exit code 3\x1b[0m.\n       Output paths:\n         /nix/store/x\n       Last 1 log lines:\n       > oh no")
		}, "error: Cannot build '" + drvOf("top") + "'.\n       Reason: 1 dependency failed.", "builder failed with exit code 3"},
	} {
		t.Run(c.nix, func(t *testing.T) {
			s := newScript()
			s.Plan(planOf("top: good bad", "good:", "bad:"))
			s.startRequest()
			s.progress("builds", 0, 3, 0, 0)
			s.build("good")
			s.progress("builds", 0, 3, 1, 0)
			s.progress("builds", 1, 3, 0, 0)
			s.stop("good")
			s.build("bad")
			c.fail(s)
			s.log(c.blocked)
			s.Finish(errors.New("no"), s.now)
			s.check(t, map[string]string{"good": "built", "bad": "failed", "top": "blocked"})
			b := s.builds[drv]
			if !reflect.DeepEqual(b.reason, []string{c.reason}) || !reflect.DeepEqual(b.tail, []string{"oh no"}) {
				t.Errorf("reason %q, log %q", b.reason, b.tail)
			}
			if m := s.Messages(s.now); m != nil {
				t.Errorf("unexpected messages %q", m)
			}
			if s.count != (daemonCount{reports: true}) {
				t.Errorf("unassigned numbers: %+v", s.count)
			}
		})
	}
}

// After a failure without --keep-going, a daemon stops the other builds without a message.
func TestStopped(t *testing.T) {
	s := newScript()
	s.startRequest()
	s.progress("builds", 0, 3, 0, 0)
	for _, name := range []string{"a", "b", "c"} {
		s.build(name)
	}
	s.progress("builds", 1, 3, 2, 0)
	s.stop("a")
	s.progress("builds", 1, 3, 1, 1)
	s.stop("b")
	s.stop("c")
	s.check(t, map[string]string{"a": "built", "b": "failed", "c": "stopped"})
}

// Nix 2.3 ends the requested builds only at the end.
func TestLateStops(t *testing.T) {
	s := newScript()
	s.startRequest()
	for _, name := range []string{"bad", "good", "slow", "other"} {
		s.build(name)
	}
	s.progress("builds", 1, 4, 3, 0) // good has ended
	s.progress("builds", 1, 4, 3, 0)
	s.progress("builds", 2, 4, 2, 0)
	s.stop("other")
	s.log("builder for '" + drvOf("bad") + "' failed with exit code 1")
	s.progress("builds", 2, 3, 1, 1)
	for _, name := range []string{"slow", "good", "bad"} {
		s.stop(name)
	}
	s.check(t, map[string]string{"bad": "failed", "good": "built", "slow": "stopped", "other": "built"})
}

// Builds of a store that reports no numbers count as built when they end.
func TestNoNumbers(t *testing.T) {
	s := newScript()
	for _, name := range []string{"a", "b", "c"} {
		s.build(name)
		s.stop(name)
	}
	s.log("error: builder for '" + drvOf("c") + "' failed")
	s.build("d")
	s.Finish(nil, s.now)
	s.check(t, map[string]string{"a": "built", "b": "built", "c": "built", "d": "stopped"})
}

// If only one derivation was requested, only the error has the reason.
func TestRecordError(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("building '%s^out' failed: %w", drvOf("bad"), &activity.Error{Message: "Cannot build '" + drvOf("bad") + "'.\nReason: builder failed with exit code 3."}),
		fmt.Errorf("building '%s^out' failed: %w", drvOf("bad"), &activity.Error{Message: "\x1b[31;1merror:\x1b[0m builder for '" + drvOf("bad") + "' failed with exit code 3"}),
		fmt.Errorf("building '%s^out' failed: %w: builder for '%s' failed with exit code 3", drvOf("bad"), &activity.Error{Message: "build of '" + drvOf("bad") + "' failed"}, drvOf("bad")),
	} {
		s := newScript()
		s.startRequest()
		s.build("bad")
		s.progress("builds", 0, 1, 0, 1)
		s.stop("bad")
		s.Finish(err, s.now)
		if got := s.builds[drvOf("bad")].reason; !reflect.DeepEqual(got, []string{"builder failed with exit code 3"}) {
			t.Errorf("%v: reason %q", err, got)
		}
	}
}

func TestMessages(t *testing.T) {
	s := newScript()
	s.Logs = true
	s.log("warning: \x1b]0;title\x07beware\nof the dog")
	s.build("hello")
	s.log("checking")
	s.logs("hello", "checking", "over\rwritten")
	s.log("error: '" + drvOf("unknown") + "' is unknown")
	s.stop("hello")
	s.log("last")
	if got := s.Messages(s.now); !reflect.DeepEqual(got, []string{
		"warning: beware", "of the dog", "hello> checking", "hello> written", "error: '" + drvOf("unknown") + "' is unknown",
	}) {
		t.Errorf("%q", got)
	}
	s.Finish(nil, s.now)
	if got := s.Messages(s.now); !reflect.DeepEqual(got, []string{"last"}) {
		t.Errorf("%q", got)
	}
}

// Invalid events of a hostile daemon do no harm.
func TestInvalidEvents(t *testing.T) {
	s := newScript()
	s.Plan(planOf("a: b", "b: c", "c: b", "d: d"))
	s.stop("nothing")
	s.result("nothing", activity.Progress, 1)
	s.start("circle", activity.Unknown, "circle", "its own parent")
	s.start("a", activity.Build, "", "")
	s.start("a", activity.Build, "a", "a build without fields")
	s.result("a", activity.Progress, "no", "numbers")
	s.result("a", activity.BuildLogLine)
	s.result("a", activity.SetExpected)
	s.result("a", activity.ResultType(9999), 1)
	s.start("odd", activity.Type(9999), "", "")
	s.start("huge", activity.CopyPath, "", "")
	s.result("huge", activity.Progress, -1, -1)
	s.start("sub", activity.Substitute, "huge", "", 5)
	s.start("below", activity.FileTransfer, "sub", "")
	s.progress("below", 5, 3, 0, 0)
	for i := range maxNodes + 10 {
		s.handle(activity.Start{ID: activity.ID(1000 + i), Type: activity.Build, Fields: []activity.Field{activity.Text(fmt.Sprint(i))}})
	}
	for size := range 30 {
		if got := len(s.Lines(s.now.Add(-time.Hour), size, size, Style{})); got > size {
			t.Errorf("%d lines in %d rows", got, size)
		}
	}
	if len(s.nodes) > maxNodes || len(s.builds) > maxBuilds+4 {
		t.Errorf("%d activities and %d builds are kept", len(s.nodes), len(s.builds))
	}
	s.Finish(nil, s.now)
	s.Summary(s.now, Style{})
}

// An activity of an unknown type is shown with its text, or else with the number of the type.
func TestUnknownType(t *testing.T) {
	s := newScript()
	s.start("a", activity.Type(250), "", "polishing '"+drvOf("hello")+"'")
	s.start("b", activity.Type(251), "", "", 1)
	s.progress("b", 3, 4, 0, 0)
	s.wait(2 * time.Second)
	want := []string{"- polishing 'hello.drv' 2s", "- Type(251) 2s  3 of 4", "2s"}
	if got := s.Lines(s.now, 80, 24, Style{}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRate(t *testing.T) {
	s := newScript()
	s.start("copy", activity.CopyPath, "", "", "/nix/store/x-y")
	for i := range 40 {
		s.wait(500 * time.Millisecond)
		s.progress("copy", (i+1)<<20, 100<<20, 0, 0)
	}
	if got := s.rate(s.now); got < 1_900_000 || got > 2_300_000 {
		t.Errorf("rate %d bytes per second, want 2 MiB", got)
	}
	s.wait(time.Minute)
	if got := s.rate(s.now); got != 0 {
		t.Errorf("rate %d bytes per second after a minute without progress", got)
	}
}

// A plan with many builds is drawn fast, and fits into the rows.
func TestLargePlan(t *testing.T) {
	p := make(Plan)
	for i := range 20_000 {
		name := fmt.Sprintf("chain%d", i)
		p[drvOf(name)] = nil
		if i > 0 {
			p[drvOf(name)] = []string{drvOf(fmt.Sprintf("chain%d", i-1))}
		}
	}
	s := newScript()
	s.Plan(p)
	s.build("chain0")
	start := time.Now()
	lines := s.Lines(s.now, 80, 23, Style{})
	if took := time.Since(start); took > 10*time.Second { // 50 ms on an idle machine
		t.Errorf("drawing took %v", took)
	}
	if len(lines) != 23 || !strings.Contains(strings.Join(lines, "\n"), "* chain0 ") {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}
