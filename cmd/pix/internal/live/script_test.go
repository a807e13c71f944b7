package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pix/activity"
)

// A script is a state with a clock and named activities.
type script struct {
	*State
	now time.Time
	ids map[string]activity.ID
}

func newScript() *script {
	return &script{NewState(), time.Unix(1_000_000, 0), make(map[string]activity.ID)}
}

// wait advances the clock.
func (s *script) wait(d time.Duration) { s.now = s.now.Add(d) }

func (s *script) handle(e activity.Event) { s.Handle(e, s.now) }

// id returns the id of an activity with a name.
func (s *script) id(name string) activity.ID {
	if s.ids[name] == 0 && name != "" {
		s.ids[name] = activity.ID(len(s.ids) + 1)
	}
	return s.ids[name]
}

func (s *script) start(name string, typ activity.Type, parent, text string, fields ...any) {
	s.handle(activity.Start{ID: s.id(name), Level: activity.LevelInfo, Type: typ, Text: text, Parent: s.id(parent), Fields: fieldsOf(fields)})
}

func (s *script) stop(name string) { s.handle(activity.Stop{ID: s.id(name)}) }

func (s *script) result(name string, typ activity.ResultType, fields ...any) {
	s.handle(activity.Result{ID: s.id(name), Type: typ, Fields: fieldsOf(fields)})
}

func (s *script) progress(name string, done, expected, running, failed int) {
	s.result(name, activity.Progress, done, expected, running, failed)
}

// log sends a log line.
func (s *script) log(text string) { s.handle(activity.Log{Text: text}) }

// build starts a build as a daemon does.
func (s *script) build(name string) {
	s.start(name, activity.Build, "", fmt.Sprintf("building '%s'", drvOf(name)), drvOf(name), "", 1, 1)
}

// logs sends lines of a build log.
func (s *script) logs(name string, lines ...string) {
	for _, l := range lines {
		s.result(name, activity.BuildLogLine, l)
	}
}

// startRequest starts the activities with which a daemon begins to handle a build request.
func (s *script) startRequest() {
	s.start("realise", activity.Realise, "", "")
	s.start("builds", activity.Builds, "", "")
	s.start("copies", activity.CopyPaths, "", "")
}

func fieldsOf(values []any) (fields []activity.Field) {
	for _, v := range values {
		switch v := v.(type) {
		case int:
			fields = append(fields, activity.Number(uint64(v)))
		case string:
			fields = append(fields, activity.Text(v))
		}
	}
	return fields
}

// drvOf returns the path of a derivation with a name.
func drvOf(name string) string {
	hash := strings.Repeat("abcdfghijklmnpqrsvwxyz0123456789", 2)
	n := 0
	for _, c := range name {
		n += int(c)
	}
	return "/nix/store/" + hash[n%32:n%32+32] + "-" + name + ".drv"
}

// planOf returns a plan from lines such as "a: b c", a derivation and its inputs.
func planOf(lines ...string) Plan {
	p := make(Plan)
	for _, l := range lines {
		name, inputs, _ := strings.Cut(l, ":")
		p[drvOf(name)] = nil
		for input := range strings.FieldsSeq(inputs) {
			p[drvOf(name)] = append(p[drvOf(name)], drvOf(input))
		}
	}
	return p
}

// states returns the states of builds, by name.
func (s *script) states() map[string]string {
	m := make(map[string]string)
	for _, b := range s.builds {
		m[b.name] = [...]string{"waiting", "running", "built", "failed", "blocked", "stopped"}[b.state]
	}
	return m
}

func (s *script) check(t *testing.T, want map[string]string) {
	t.Helper()
	if got := s.states(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
