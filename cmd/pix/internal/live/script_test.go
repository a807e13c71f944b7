package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pix/activity"
)

// A script is a state to which things happen at times of its own.
type script struct {
	*State
	now time.Time
	ids map[string]activity.ID
}

func newScript() *script {
	return &script{NewState(), time.Unix(1_000_000, 0), make(map[string]activity.ID)}
}

// wait lets time pass.
func (s *script) wait(d time.Duration) { s.now = s.now.Add(d) }

func (s *script) is(e activity.Event) { s.Handle(e, s.now) }

// id is the number of an activity, by a name that the test gives it.
func (s *script) id(name string) activity.ID {
	if s.ids[name] == 0 && name != "" {
		s.ids[name] = activity.ID(len(s.ids) + 1)
	}
	return s.ids[name]
}

func (s *script) start(name string, typ activity.Type, parent, text string, fields ...any) {
	s.is(activity.Start{ID: s.id(name), Level: activity.LevelInfo, Type: typ, Text: text, Parent: s.id(parent), Fields: fieldsOf(fields)})
}

func (s *script) stop(name string) { s.is(activity.Stop{ID: s.id(name)}) }

func (s *script) result(name string, typ activity.ResultType, fields ...any) {
	s.is(activity.Result{ID: s.id(name), Type: typ, Fields: fieldsOf(fields)})
}

func (s *script) progress(name string, done, expected, running, failed int) {
	s.result(name, activity.Progress, done, expected, running, failed)
}

func (s *script) says(text string) { s.is(activity.Log{Text: text}) }

// build begins a build, as a daemon does.
func (s *script) build(name string) {
	s.start(name, activity.Build, "", fmt.Sprintf("building '%s'", drvOf(name)), drvOf(name), "", 1, 1)
}

// logs says lines of a build log.
func (s *script) logs(name string, lines ...string) {
	for _, l := range lines {
		s.result(name, activity.BuildLogLine, l)
	}
}

// begin begins what a daemon begins every build with.
func (s *script) begin() {
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

// drvOf is the path of a derivation of that name.
func drvOf(name string) string {
	hash := strings.Repeat("abcdfghijklmnpqrsvwxyz0123456789", 2)
	n := 0
	for _, c := range name {
		n += int(c)
	}
	return "/nix/store/" + hash[n%32:n%32+32] + "-" + name + ".drv"
}

// planOf makes a plan of "a: b c" for each derivation and its inputs.
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

// states says how far builds are, by name.
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
