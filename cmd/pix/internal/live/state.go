package live

import (
	"strings"
	"time"

	"pix/activity"
)

// maxNodes is the largest number of running activities. More are ignored.
const maxNodes = 1 << 12

// A State is the model of a view. Methods must not be called concurrently.
type State struct {
	// Logs makes the lines of build logs messages, too.
	Logs bool

	nodes   map[activity.ID]*node
	serial  int       // of the last node
	begun   time.Time // the time of the first event
	totals  map[activity.Type]*typeTotal
	samples []rateSample

	builds  map[string]*build // by derivation
	planned []*build          // the builds of the plan
	inState [stopped + 1]int  // the number of builds in each state

	failed, lastBuilt []*build // in the order of their ends

	count     daemonCount
	uncounted []*build // have ended, and no number was left for them

	estimator Estimator // or nil
	leftAt    time.Time // when leftTime was computed
	leftTime  time.Duration
	leftKnown bool

	pending      string // a log line that may be repeated as a line of a build log
	hasPending   bool
	pendingSince time.Time
	messages     []string
	interrupted  bool
}

// NewState returns an empty state.
func NewState() *State {
	return &State{
		nodes:  make(map[activity.ID]*node),
		totals: make(map[activity.Type]*typeTotal),
		builds: make(map[string]*build),
	}
}

// Handle updates the state with an event that happened at time now.
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
		s.pending, s.hasPending, s.pendingSince = e.Text, true, now
	case activity.Start:
		s.start(e, now)
	case activity.Result:
		s.result(e, now)
	case activity.Stop:
		s.stop(e.ID, now)
	}
}

// repeats reports whether e is the pending log line again. Nix 2.3 sends each line of a build log twice, first as a
// log line.
func (s *State) repeats(e activity.Event) bool {
	r, ok := e.(activity.Result)
	if !ok {
		return false
	}
	text, ok := activity.Line(r)
	return ok && text == s.pending
}

// flush turns the pending log line into a message. If the line is the reason of a failed build, it is stored with
// the build instead, because the view and the summary show it.
func (s *State) flush() {
	text := s.pending
	s.pending, s.hasPending = "", false
	if f, ok := parseFailure(text, false); ok && s.recordFailure(f) {
		return
	}
	s.messages = append(s.messages, safeLines(text)...)
}

func (s *State) start(e activity.Start, now time.Time) {
	if s.nodes[e.ID] != nil { // two daemons may use the same id
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
		s.startBuild(n, now)
	}
	s.addSample(now)
}

func (s *State) result(r activity.Result, now time.Time) {
	n := s.nodes[r.ID]
	if n == nil {
		return
	}
	s.countResult(n, r)
	s.addSample(now)
	b := s.buildFor(n)
	if b == nil {
		return
	}
	s.buildResult(b, r)
	if text, ok := activity.Line(r); ok && s.Logs {
		s.messages = append(s.messages, b.name+"> "+strings.TrimRight(safeLine(text), " "))
	}
}

// buildFor returns the build of an activity: the activity is the build or its post-build hook. It returns nil for
// other activities.
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
		s.endBuild(n.build, now)
	}
}

// Interrupt records that the user has stopped the work.
func (s *State) Interrupt() { s.interrupted = true }

// Finish records that the work has ended with err. Builds that still run count as stopped.
func (s *State) Finish(err error, now time.Time) {
	if s.hasPending {
		s.flush()
	}
	if err != nil {
		s.recordError(err)
	}
	for _, b := range s.builds {
		if b.state == running {
			b.stop = now
			s.setState(b, stopped)
		}
	}
	clear(s.nodes)
}

// pendingTime is how long a log line is held back because it may be repeated.
const pendingTime = 50 * time.Millisecond

// Messages returns and removes the lines that must appear above the view at time now. They contain no control
// characters.
func (s *State) Messages(now time.Time) []string {
	if s.hasPending && now.Sub(s.pendingSince) >= pendingTime {
		s.flush()
	}
	messages := s.messages
	s.messages = nil
	return messages
}
