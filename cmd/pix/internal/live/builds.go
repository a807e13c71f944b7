package live

import (
	"slices"
	"time"

	"pix/activity"
)

// A buildState is the state of a build.
type buildState uint8

const (
	waiting buildState = iota // planned and not started
	running
	built
	failed
	blocked // depends on a failed build
	stopped // still running when the work ended
)

// tailLines is the number of log lines that are kept, and printed if the build fails.
const tailLines = 10

// A build is a derivation that the store builds, has built or will build.
type build struct {
	drv    string // the path in the words of the store
	name   string
	state  buildState
	serial int // increases in the order of starts; 0 before the start
	first  int // the smallest serial in the subtree of the build so far; 0 before a start there

	counted bool // included in State.inState

	start, stop time.Time
	estimate    time.Duration // how long the build will take; 0 is unknown
	machine     string        // "" for the machine of the store
	phase       string
	postBuild   bool // log lines come from the post-build hook

	tail   []string // the last lines of the log
	reason []string // of the failure

	// The plan; see plan.go.
	isPlanned          bool
	inputs, dependents []*build
	missingInputs      int    // the number of inputs that are not built
	parent             *build // in the tree
	depth              int    // the length of the longest chain from a root
}

func (b *build) lastLine() string {
	if len(b.tail) == 0 {
		return ""
	}
	return b.tail[len(b.tail)-1]
}

func (b *build) log(text string) {
	if len(b.tail) == tailLines {
		b.tail = append(b.tail[:0], b.tail[1:]...)
	}
	b.tail = append(b.tail, text)
}

// maxBuilds is the largest number of builds that are kept, apart from the plan.
const maxBuilds = 1 << 16

// buildOf returns the build of a derivation, and creates it if needed.
func (s *State) buildOf(drv string) *build {
	b := s.builds[drv]
	if b == nil {
		b = s.newBuild(drv)
		if len(s.builds) < maxBuilds {
			s.builds[drv] = b
		}
	}
	return b
}

// newBuild returns a build that has not started.
func (s *State) newBuild(drv string) *build {
	b := &build{drv: drv, name: nameOf(drv)}
	if s.estimator != nil {
		b.estimate = s.estimator.Estimate(b.name)
	}
	return b
}

// maxLastBuilt is how many of the latest successful builds are kept in order.
const maxLastBuilt = 16

// setState changes the state of a build, and updates its dependents.
func (s *State) setState(b *build, to buildState) {
	from := b.state
	if from == to {
		return
	}
	b.state = to
	if b.counted {
		s.inState[from]--
	}
	b.counted = true
	s.inState[to]++
	switch {
	case to == built:
		if s.lastBuilt = append(s.lastBuilt, b); len(s.lastBuilt) > maxLastBuilt {
			s.lastBuilt = s.lastBuilt[1:]
		}
		for _, d := range b.dependents {
			d.missingInputs--
		}
	case to == failed:
		s.failed = append(s.failed, b)
		s.block(b)
	}
}

// block marks all builds that depend on b, directly or indirectly.
func (s *State) block(b *build) {
	todo := []*build{b}
	for len(todo) > 0 {
		b, todo = todo[len(todo)-1], todo[:len(todo)-1]
		for _, d := range b.dependents {
			if d.state == waiting {
				s.setState(d, blocked)
				todo = append(todo, d)
			}
		}
	}
}

// startBuild updates the state when a build starts.
func (s *State) startBuild(n *node, now time.Time) {
	drv := n.text(0)
	if drv == "" {
		return
	}
	b := s.buildOf(drv)
	switch b.state {
	case built: // built again, to compare the outputs
		s.lastBuilt = remove(s.lastBuilt, b)
		for _, d := range b.dependents {
			d.missingInputs++
		}
	case failed:
		s.failed = remove(s.failed, b)
	}
	n.build = b
	b.serial, b.start, b.stop = n.serial, now, time.Time{}
	b.machine, b.phase, b.postBuild = safeLine(n.text(1)), "", false
	b.tail, b.reason = nil, nil
	b.setFirst()
	s.setState(b, running)
}

// endBuild updates the state when a build ends. The daemon does not report whether the build succeeded, so endBuild
// infers it from the numbers that the daemon reports; see [daemonCount]. If it reports none, the build counts as
// built.
func (s *State) endBuild(b *build, now time.Time) {
	b.stop = now
	defer s.record(b)
	others := uint64(s.inState[running] - 1) // running builds beside b
	c := &s.count
	switch {
	case c.failed > 0:
		c.failed--
		s.setState(b, failed)
	case b.state != running: // a message has reported the failure already
	case c.built > 0:
		c.built--
		s.setState(b, built)
	case !c.reports:
		s.setState(b, built)
	case others < c.lateFailed:
		c.lateFailed--
		s.setState(b, failed)
	case others < c.lateFailed+c.lateBuilt:
		c.lateBuilt--
		s.setState(b, built)
	default:
		s.setState(b, stopped)
		if len(s.uncounted) < maxNodes {
			s.uncounted = append(s.uncounted, b)
		}
	}
	if s.inState[running] == 0 {
		*c = daemonCount{reports: c.reports}
	}
}

// A daemonCount has the numbers of successful and failed builds that the daemon has reported and that are not
// assigned to a build yet.
//
// The daemon increments a number just before the build ends. It does not count builds that it stops. But Nix 2.3
// ends the requested builds last, all at once, after their numbers. So when a number is incremented again, the
// earlier increment is late: it belongs to a build that ends later. A late increment is only used if there are
// enough of them for all builds that still run.
type daemonCount struct {
	reports               bool // the daemon reports numbers
	built, failed         uint64
	lateBuilt, lateFailed uint64
	announced             uint64 // failures reported by messages, which the daemon will count later
}

// countBuilds updates the count with the numbers that the daemon reports now and had reported before.
func (s *State) countBuilds(before, after *node) {
	c := &s.count
	c.reports = true
	c.lateBuilt, c.lateFailed = c.lateBuilt+c.built, c.lateFailed+c.failed
	c.built, c.failed = increase(before.done, after.done), increase(before.failed, after.failed)
	announced := min(c.failed, c.announced)
	c.failed, c.announced = c.failed-announced, c.announced-announced
	s.countEnded()
}

// countEnded assigns the numbers to builds that have ended without one. Nix increments a number just before the build ends,
// and other daemons may do it just after that.
func (s *State) countEnded() {
	c := &s.count
	for c.built+c.failed > 0 && len(s.uncounted) > 0 {
		b := s.uncounted[0]
		s.uncounted = s.uncounted[1:]
		switch {
		case b.state != stopped: // a message has reported its failure
		case c.failed > 0:
			c.failed--
			s.setState(b, failed)
		default:
			c.built--
			s.setState(b, built)
			s.record(b)
		}
	}
}

// increase returns after-before, or 0 if that is negative.
func increase(before, after uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}

// buildResult stores a phase or a log line of a build.
func (s *State) buildResult(b *build, r activity.Result) {
	if len(r.Fields) == 0 {
		return
	}
	text, _ := r.Fields[0].Text()
	switch text = safeLine(text); r.Type {
	case activity.SetPhase:
		b.phase = text
	case activity.BuildLogLine, activity.PostBuildLogLine:
		b.postBuild = r.Type == activity.PostBuildLogLine
		b.log(text)
	}
}

func remove(list []*build, b *build) []*build {
	return slices.DeleteFunc(list, func(x *build) bool { return x == b })
}
