package live

import (
	"time"

	"pix/activity"
)

// A tally is what all activities of one type have come to.
type tally struct {
	running     int
	ended       int    // how many have ended
	done        uint64 // by those that have ended
	failed      uint64
	expected    uint64 // by others
	now, wanted uint64 // by those that run
}

// countStart, countResult and countStop keep the tallies: what is done stays done when an
// activity ends, what was expected does not stay expected.
func (s *State) countStart(n *node) { s.tally(n.start.Type).running++ }

func (s *State) countResult(n *node, r activity.Result) {
	t := s.tally(n.start.Type)
	t.now, t.wanted = t.now-n.done, t.wanted-n.whole
	before := *n
	s.expect(n, -1)
	n.result(r)
	s.expect(n, +1)
	t.now, t.wanted = t.now+n.done, t.wanted+n.whole
	if n.start.Type == activity.Builds && r.Type == activity.Progress {
		s.countBuilds(&before, n)
	}
}

func (s *State) countStop(n *node) {
	t := s.tally(n.start.Type)
	t.now, t.wanted = t.now-n.done, t.wanted-n.whole
	t.done, t.failed = t.done+n.done, t.failed+n.failed
	t.running--
	t.ended++
	s.expect(n, -1)
}

func (s *State) expect(n *node, sign int) {
	for typ, expected := range n.expects {
		s.tally(typ).expected += expected * uint64(sign)
	}
}

func (s *State) tally(t activity.Type) *tally {
	if s.tallies[t] == nil {
		if len(s.tallies) >= maxTypes {
			t = activity.Unknown
		}
		if s.tallies[t] == nil {
			s.tallies[t] = new(tally)
		}
	}
	return s.tallies[t]
}

// doneOf returns how much is done of what activities of a type do, and how much there is.
func (s *State) doneOf(t activity.Type) (done, whole uint64) {
	c := s.tallies[t]
	if c == nil {
		return 0, 0
	}
	done = c.done + c.now
	return done, max(c.done+c.wanted, c.expected, done)
}

// moved returns how many bytes were copied, and how many there are: those of archives or,
// where nobody counts these, those of downloads.
func (s *State) moved() (done, whole uint64) {
	if done, whole = s.doneOf(activity.CopyPath); done > 0 {
		return done, whole
	}
	return s.doneOf(activity.FileTransfer)
}

// A sample says how many bytes were copied by then.
type sample struct {
	at    time.Time
	bytes uint64
}

const (
	sampleEvery = 250 * time.Millisecond
	sampleCount = 20 // so the rate is that of five seconds
)

// sample remembers how many bytes were copied.
func (s *State) sample(now time.Time) {
	if n := len(s.samples); n > 0 && now.Sub(s.samples[n-1].at) < sampleEvery {
		return
	} else if n == sampleCount {
		s.samples = append(s.samples[:0], s.samples[1:]...)
	}
	done, _ := s.moved()
	s.samples = append(s.samples, sample{now, done})
}

// rate returns how many bytes are copied in a second at present.
func (s *State) rate(now time.Time) uint64 {
	const window = sampleCount * sampleEvery
	done, _ := s.moved()
	for _, old := range s.samples {
		passed := now.Sub(old.at)
		if passed > window || passed < sampleEvery || done < old.bytes {
			continue
		}
		return uint64(float64(done-old.bytes) / passed.Seconds())
	}
	return 0
}
