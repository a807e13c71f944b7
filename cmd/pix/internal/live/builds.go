package live

import (
	"slices"
	"time"

	"pix/activity"
)

// A buildState says how far a build is.
type buildState uint8

const (
	waiting buildState = iota // planned, and not begun
	running
	built
	failed
	blocked // needs what failed
	stopped // ran when all ended
)

// tailLines is how many lines of a log are kept, and shown of a build that failed.
const tailLines = 10

// A build is a derivation that is built, was built or will be.
type build struct {
	drv    string // as the store says it
	name   string
	state  buildState
	serial int // in the order in which they began; 0 before

	counted bool // in State.inState

	start, stop time.Time
	machine     string // "" for that of the store
	phase       string
	post        bool // the lines are those of the hook that runs after it

	tail   []string // the last lines of its log
	reason []string // why it failed

	// From the plan; see plan.go.
	isPlanned          bool
	inputs, dependents []*build
	unready            int    // inputs that are not built
	up                 *build // under which it stands in the tree
	depth              int    // the longest way from a root
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

// maxBuilds is how many builds are remembered that are not in the plan.
const maxBuilds = 1 << 16

// buildOf returns the build of a derivation, which is a new one if nobody knew of it.
func (s *State) buildOf(drv string) *build {
	b := s.builds[drv]
	if b == nil {
		b = &build{drv: drv, name: nameOf(drv)}
		if len(s.builds) < maxBuilds {
			s.builds[drv] = b
		}
	}
	return b
}

// lastBuilt is how many of those that were built last are remembered in their order.
const lastBuilt = 16

// move changes the state of a build, and of those that wait for it.
func (s *State) move(b *build, to buildState) {
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
		if s.lastBuilt = append(s.lastBuilt, b); len(s.lastBuilt) > lastBuilt {
			s.lastBuilt = s.lastBuilt[1:]
		}
		for _, d := range b.dependents {
			d.unready--
		}
	case to == failed:
		s.failed = append(s.failed, b)
		s.block(b)
	}
}

// block marks all that cannot be built without b.
func (s *State) block(b *build) {
	todo := []*build{b}
	for len(todo) > 0 {
		b, todo = todo[len(todo)-1], todo[:len(todo)-1]
		for _, d := range b.dependents {
			if d.state == waiting {
				s.move(d, blocked)
				todo = append(todo, d)
			}
		}
	}
}

// begin is called when a build begins.
func (s *State) begin(n *node, now time.Time) {
	drv := n.text(0)
	if drv == "" {
		return
	}
	b := s.buildOf(drv)
	switch b.state {
	case built: // it is built once more, to compare
		s.lastBuilt = remove(s.lastBuilt, b)
		for _, d := range b.dependents {
			d.unready++
		}
	case failed:
		s.failed = remove(s.failed, b)
	}
	n.build = b
	b.serial, b.start, b.stop = n.serial, now, time.Time{}
	b.machine, b.phase, b.post = oneLine(n.text(1)), "", false
	b.tail, b.reason = nil, nil
	s.move(b, running)
}

// end is called when a build ends. The daemon does not say how, so it must be concluded
// from what it counts; see [count]. One that does not count ends well.
func (s *State) end(b *build, now time.Time) {
	b.stop = now
	others := uint64(s.inState[running] - 1)
	c := &s.count
	switch {
	case c.failed > 0:
		c.failed--
		s.move(b, failed)
	case b.state != running: // it was said already that it failed
	case c.built > 0:
		c.built--
		s.move(b, built)
	case !c.counts:
		s.move(b, built)
	case others < c.lateFailed:
		c.lateFailed--
		s.move(b, failed)
	case others < c.lateFailed+c.lateBuilt:
		c.lateBuilt--
		s.move(b, built)
	default:
		s.move(b, stopped)
	}
	if s.inState[running] == 0 {
		*c = count{counts: c.counts}
	}
}

// A count is what the daemon has counted of builds that have not ended yet. It counts one
// more that is done or has failed just before that ends; what it stops it does not count.
// But Nix 2.3 ends last, all at once, those builds that it was asked for: so what was counted
// when the next is counted is late, and is only used if it is enough for all that still run.
type count struct {
	counts                bool // the daemon does
	built, failed         uint64
	lateBuilt, lateFailed uint64
	told                  uint64 // failures that were said, and will be counted
}

// countBuilds compares what a daemon has counted with what it had counted before.
func (s *State) countBuilds(before, after *node) {
	c := &s.count
	c.counts = true
	c.lateBuilt, c.lateFailed = c.lateBuilt+c.built, c.lateFailed+c.failed
	c.built, c.failed = grown(before.done, after.done), grown(before.failed, after.failed)
	told := min(c.failed, c.told)
	c.failed, c.told = c.failed-told, c.told-told
}

func grown(before, after uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}

// buildResult takes in what is said of a build.
func (s *State) buildResult(b *build, r activity.Result) {
	if len(r.Fields) == 0 {
		return
	}
	text, _ := r.Fields[0].Text()
	switch text = oneLine(text); r.Type {
	case activity.SetPhase:
		b.phase = text
	case activity.BuildLogLine, activity.PostBuildLogLine:
		b.post = r.Type == activity.PostBuildLogLine
		b.log(text)
	}
}

func remove(list []*build, b *build) []*build {
	return slices.DeleteFunc(list, func(x *build) bool { return x == b })
}
