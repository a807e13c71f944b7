package live

import (
	"time"

	"pix/activity"
)

// A typeTotal is the progress of all activities of one type.
type typeTotal struct {
	running  int    // activities
	ended    int    // activities
	done     uint64 // by ended activities
	failed   uint64 // by ended activities
	expected uint64 // announced by activities of other types

	runningDone, runningExpected uint64 // by running activities
}

// countStart, countResult and countStop update the totals. When an activity ends, its progress stays in the total and its
// expectations do not.
func (s *State) countStart(n *node) { s.total(n.start.Type).running++ }

func (s *State) countResult(n *node, r activity.Result) {
	t := s.total(n.start.Type)
	t.runningDone, t.runningExpected = t.runningDone-n.done, t.runningExpected-n.expected
	before := *n
	s.addExpected(n, -1)
	n.update(r)
	s.addExpected(n, +1)
	t.runningDone, t.runningExpected = t.runningDone+n.done, t.runningExpected+n.expected
	if n.start.Type == activity.Builds && r.Type == activity.Progress {
		s.countBuilds(&before, n)
	}
}

func (s *State) countStop(n *node) {
	t := s.total(n.start.Type)
	t.runningDone, t.runningExpected = t.runningDone-n.done, t.runningExpected-n.expected
	t.done, t.failed = t.done+n.done, t.failed+n.failed
	t.running--
	t.ended++
	s.addExpected(n, -1)
}

// addExpected adds what an activity expects of other types, or subtracts it.
func (s *State) addExpected(n *node, sign int) {
	for typ, expected := range n.expects {
		s.total(typ).expected += expected * uint64(sign)
	}
}

// total returns the total of a type. If there are too many types, that is the total of unknown activities.
func (s *State) total(t activity.Type) *typeTotal {
	if s.totals[t] == nil {
		if len(s.totals) >= maxTypes {
			t = activity.Unknown
		}
		if s.totals[t] == nil {
			s.totals[t] = new(typeTotal)
		}
	}
	return s.totals[t]
}

// progressOf returns the progress of all activities of a type, and the expected total.
func (s *State) progressOf(t activity.Type) (done, expected uint64) {
	c := s.totals[t]
	if c == nil {
		return 0, 0
	}
	done = c.done + c.runningDone
	return done, max(c.done+c.runningExpected, c.expected, done)
}

// copiedBytes returns how many bytes of archives were copied, and how many are expected. If the store does not report
// them, it returns the bytes of downloads.
func (s *State) copiedBytes() (done, expected uint64) {
	if done, expected = s.progressOf(activity.CopyPath); done > 0 {
		return done, expected
	}
	return s.progressOf(activity.FileTransfer)
}

// A rateSample is the number of bytes that were copied up to a time.
type rateSample struct {
	at    time.Time
	bytes uint64
}

const (
	sampleInterval = 250 * time.Millisecond
	maxSamples     = 20 // the rate is the average of five seconds
)

// addSample stores how many bytes were copied up to now, at most once per interval.
func (s *State) addSample(now time.Time) {
	if n := len(s.samples); n > 0 && now.Sub(s.samples[n-1].at) < sampleInterval {
		return
	} else if n == maxSamples {
		s.samples = append(s.samples[:0], s.samples[1:]...)
	}
	done, _ := s.copiedBytes()
	s.samples = append(s.samples, rateSample{now, done})
}

// rate returns the current rate in bytes per second.
func (s *State) rate(now time.Time) uint64 {
	const window = maxSamples * sampleInterval
	done, _ := s.copiedBytes()
	for _, old := range s.samples {
		passed := now.Sub(old.at)
		if passed > window || passed < sampleInterval || done < old.bytes {
			continue
		}
		return uint64(float64(done-old.bytes) / passed.Seconds())
	}
	return 0
}
