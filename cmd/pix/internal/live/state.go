package live

import (
	"strings"
	"time"

	"pix/activity"
)

// maxNodes is how many activities may run at once; of more nothing is seen.
const maxNodes = 1 << 12

// A State is what there is to see. It is not safe for several goroutines at once.
type State struct {
	// Logs says that the lines of build logs are messages, as well as in the view.
	Logs bool

	nodes   map[activity.ID]*node
	serial  int
	begun   time.Time // when the first event came
	tallies map[activity.Type]*tally
	samples []sample

	builds  map[string]*build // by derivation
	planned []*build          // those of the plan; none without one
	inState [stopped + 1]int  // how many builds

	failed, lastBuilt []*build // in the order in which they ended

	count count

	pending     string // a log line that may come again as that of a build
	hasPending  bool
	pendingFrom time.Time
	messages    []string
	interrupted bool
}

// NewState returns a state in which nothing has happened.
func NewState() *State {
	return &State{
		nodes:   make(map[activity.ID]*node),
		tallies: make(map[activity.Type]*tally),
		builds:  make(map[string]*build),
	}
}

// Handle takes in an event that came at a time.
func (s *State) Handle(e activity.Event, now time.Time) {
	if s.begun.IsZero() {
		s.begun = now
	}
	if s.hasPending && !s.repeats(e) {
		s.flush()
	}
	s.hasPending = false
	switch e := e.(type) {
	case activity.Log:
		s.pending, s.hasPending, s.pendingFrom = e.Text, true, now
	case activity.Start:
		s.start(e, now)
	case activity.Result:
		s.result(e, now)
	case activity.Stop:
		s.stop(e.ID, now)
	}
}

// repeats reports whether e says again what is pending: Nix 2.3 says each line of a build
// log twice, first as a log line.
func (s *State) repeats(e activity.Event) bool {
	r, ok := e.(activity.Result)
	if !ok {
		return false
	}
	text, ok := activity.Line(r)
	return ok && text == s.pending
}

// flush makes a message of what is pending, unless it says only why a build failed: that
// is in the view, and in the summary.
func (s *State) flush() {
	text := s.pending
	s.pending, s.hasPending = "", false
	if f, ok := failureIn(text); ok && s.fail(f) {
		return
	}
	s.messages = append(s.messages, paragraph(text)...)
}

func (s *State) start(e activity.Start, now time.Time) {
	if s.nodes[e.ID] != nil { // two daemons may have the same numbers
		s.stop(e.ID, now)
	}
	if len(s.nodes) >= maxNodes {
		return
	}
	s.serial++
	n := &node{start: e, serial: s.serial, since: now}
	s.nodes[e.ID] = n
	s.countStart(n)
	if e.Type == activity.Build {
		s.begin(n, now)
	}
	s.sample(now)
}

func (s *State) result(r activity.Result, now time.Time) {
	n := s.nodes[r.ID]
	if n == nil {
		return
	}
	s.countResult(n, r)
	s.sample(now)
	b := s.buildFor(n)
	if b == nil {
		return
	}
	s.buildResult(b, r)
	if text, ok := activity.Line(r); ok && s.Logs {
		s.messages = append(s.messages, b.name+"> "+strings.TrimRight(oneLine(text), " "))
	}
}

// buildFor returns the build that an activity is about: itself, or that of its hook.
func (s *State) buildFor(n *node) *build {
	if n.build == nil && n.start.Type == activity.PostBuildHook {
		n.build = s.builds[n.text(0)]
	}
	return n.build
}

func (s *State) stop(id activity.ID, now time.Time) {
	n := s.nodes[id]
	if n == nil {
		return
	}
	delete(s.nodes, id)
	s.countStop(n)
	if n.build != nil && n.start.Type == activity.Build {
		s.end(n.build, now)
	}
}

// Interrupt says that the work is being stopped.
func (s *State) Interrupt() { s.interrupted = true }

// Finish says that the work has ended, with err. What runs still has been stopped.
func (s *State) Finish(err error, now time.Time) {
	if s.hasPending {
		s.flush()
	}
	if err != nil {
		s.fault(err)
	}
	for _, b := range s.builds {
		if b.state == running {
			b.stop = now
			s.move(b, stopped)
		}
	}
	clear(s.nodes)
}

// pendingFor is how long a log line is held back in case that it comes again.
const pendingFor = 50 * time.Millisecond

// Messages returns the lines that are to be shown above the view at a time, and forgets
// them. They are safe on a terminal.
func (s *State) Messages(now time.Time) []string {
	if s.hasPending && now.Sub(s.pendingFrom) >= pendingFor {
		s.flush()
	}
	messages := s.messages
	s.messages = nil
	return messages
}
