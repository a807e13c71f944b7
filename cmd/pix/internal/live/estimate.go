package live

import (
	"cmp"
	"slices"
	"time"
)

// An Estimator knows how long earlier builds took. A [State] calls it from one goroutine at a time.
type Estimator interface {
	// Estimate returns how long a build with this name will take, or 0 if that is unknown.
	Estimate(name string) time.Duration

	// Record records how long a successful build with this name took.
	Record(name string, took time.Duration)
}

// UseEstimates sets the estimator of the state. Without one the view has no estimates.
func (s *State) UseEstimates(e Estimator) {
	s.estimator = e
	for _, b := range s.builds {
		b.estimate = e.Estimate(b.name)
	}
}

// minEstimate is the shortest time that is shown as an estimate.
const minEstimate = 2 * time.Second

// estimateText returns the estimate of a running build, or "".
func (b *build) estimateText() string {
	if b.estimate < minEstimate {
		return ""
	}
	return " of ~" + formatDuration(b.estimate)
}

// record records how long a build took that has just succeeded.
func (s *State) record(b *build) {
	if s.estimator != nil && b.state == built {
		s.estimator.Record(b.name, b.stop.Sub(b.start))
	}
}

// left returns how long the builds of the plan will still take. ok is false if that is unknown for one of them. The
// result is computed once a second, because a plan can have many builds.
func (s *State) left(now time.Time) (left time.Duration, ok bool) {
	if now.Sub(s.leftAt) >= time.Second || now.Before(s.leftAt) {
		s.leftAt = now
		s.leftTime, s.leftKnown = s.computeLeft(now)
	}
	return s.leftTime, s.leftKnown
}

// computeLeft returns the longer of two lower bounds: the longest chain of builds in which each needs the one before, and
// the time that all of them take if as many run at once as now.
func (s *State) computeLeft(now time.Time) (left time.Duration, ok bool) {
	var unfinished []*build
	for _, b := range s.planned {
		if b.state == waiting || b.state == running {
			if b.estimate == 0 {
				return 0, false
			}
			unfinished = append(unfinished, b)
		}
	}
	if len(unfinished) == 0 {
		return 0, false
	}
	slices.SortFunc(unfinished, func(a, b *build) int { return cmp.Compare(b.depth, a.depth) }) // inputs first
	ends := make(map[*build]time.Duration, len(unfinished))
	var sum time.Duration
	for _, b := range unfinished {
		own := b.estimate
		if b.state == running {
			own = max(b.estimate-now.Sub(b.start), 0)
		}
		sum += own
		var begin time.Duration
		for _, in := range b.inputs {
			begin = max(begin, ends[in])
		}
		ends[b] = begin + own
		left = max(left, ends[b])
	}
	return max(left, sum/time.Duration(max(s.inState[running], 1))), true
}
