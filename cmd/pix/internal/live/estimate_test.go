package live

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// times is an Estimator with fixed times.
type times map[string]time.Duration

func (e times) Estimate(name string) time.Duration     { return e[name] }
func (e times) Record(name string, took time.Duration) { e["recorded "+name] = took }
func (s *script) lines() []string                      { return s.Lines(s.now, 100, 24, Style{}) }
func (s *script) end(name string, built, failed int) {
	s.progress("builds", built, 9, 0, failed)
	s.stop(name)
}
func has(lines []string, want string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) })
}
func lastOf(lines []string) string { return lines[len(lines)-1] }
func (s *script) expectLast(t *testing.T, want string) {
	t.Helper()
	if got := lastOf(s.lines()); !strings.HasSuffix(got, want) {
		t.Errorf("the last line is %q, want %q", got, want)
	}
}

// Running builds have the time that they will take, and the status line the time until all are built. Successful builds
// are recorded.
func TestEstimates(t *testing.T) {
	s := newScript()
	e := times{"a": 100 * time.Second, "b": time.Minute, "c": time.Second, "d": time.Millisecond}
	s.UseEstimates(e)
	s.startRequest()
	s.Plan(planOf("d: c", "c: a b", "a:", "b:"))
	s.build("a")
	s.wait(10 * time.Second)
	if lines := s.lines(); !has(lines, "* a 10s of ~1m40s") {
		t.Errorf("got %q", lines)
	}
	s.expectLast(t, "~2m31s left") // one build at a time: 90 + 60 + 1
	s.build("b")
	s.wait(time.Second)
	s.expectLast(t, "~1m30s left") // the chain a, c, d
	s.wait(200 * time.Second)
	if lines := s.lines(); !has(lines, "* a 3m31s of ~1m40s") {
		t.Errorf("got %q", lines)
	}
	s.end("a", 1, 0)
	s.end("b", 1, 1)
	s.Finish(nil, s.now)
	if e["recorded a"] != 211*time.Second || e["recorded b"] != 0 {
		t.Errorf("got %v", e)
	}
}

// There is no time until the end if one of the estimates is unknown.
func TestEstimatesUnknown(t *testing.T) {
	s := newScript()
	s.startRequest()
	s.Plan(planOf("top: a", "a:"))
	s.build("a")
	s.UseEstimates(times{"a": time.Minute})
	s.wait(time.Second)
	if lines := s.lines(); !has(lines, "1s of ~1m00s") || has(lines, "left") {
		t.Errorf("got %q", lines)
	}
}

// Siblings keep their places when builds below them end and others begin.
func TestSiblingsKeepPlaces(t *testing.T) {
	s := newScript()
	s.startRequest()
	s.Plan(planOf("top: left right", "left: l1 l2 l3", "right: r1", "l1:", "l2:", "l3:", "r1:"))
	order := func() string {
		lines := strings.Join(s.Lines(s.now, 100, 6, Style{}), "\n") // without room for builds that have ended
		l, r := strings.Index(lines, " left"), strings.Index(lines, " right")
		if l < 0 || r < 0 {
			t.Fatalf("got\n%s", lines)
		}
		if l < r {
			return "left right"
		}
		return "right left"
	}
	s.build("l1")
	s.build("r1")
	first := order()
	s.end("l1", 1, 0)
	s.build("l2")
	if got := order(); got != first {
		t.Errorf("%s became %s", first, got)
	}
	s.end("l2", 2, 0)
	s.build("l3")
	if got := order(); got != first {
		t.Errorf("%s became %s", first, got)
	}
}

// A plan that arrives after builds have begun gives them the same places.
func TestLatePlan(t *testing.T) {
	s := newScript()
	s.startRequest()
	s.build("b")
	s.build("a")
	s.Plan(planOf("top: left right", "left: a", "right: b", "a:", "b:"))
	lines := strings.Join(s.lines(), "\n")
	if strings.Index(lines, " right") > strings.Index(lines, " left") {
		t.Errorf("got\n%s", lines)
	}
}

// A daemon may count a build just after its end.
func TestCountAfterEnd(t *testing.T) {
	s := newScript()
	e := times{}
	s.UseEstimates(e)
	s.startRequest()
	s.progress("builds", 0, 3, 0, 0)
	for i, name := range []string{"a", "b", "c"} {
		s.progress("builds", i, 3, 1, 0)
		s.build(name)
		s.wait(time.Second)
		s.stop(name)
		if name == "c" {
			s.progress("builds", 2, 3, 0, 1)
		} else {
			s.progress("builds", i+1, 3, 0, 0)
		}
	}
	s.check(t, map[string]string{"a": "built", "b": "built", "c": "failed"})
	if e["recorded a"] != time.Second || e["recorded c"] != 0 {
		t.Errorf("got %v", e)
	}
}
