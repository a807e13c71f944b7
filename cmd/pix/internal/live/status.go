package live

import (
	"fmt"
	"time"

	"pix/activity"
)

// statusLines returns the lines below the others that say how much is done: of builds,
// and of copies.
func (s *State) statusLines(now time.Time, columns int, st Style) []line {
	var lines []line
	if l := s.buildStatus(now, columns, st); l != nil {
		lines = append(lines, l)
	}
	if l := s.copyStatus(now, columns, st); l != nil {
		lines = append(lines, l)
	}
	if len(lines) > 0 {
		return lines
	}
	for _, n := range s.nodes {
		if s.hasRow(n) {
			return []line{s.elapsed(now)}
		}
	}
	return nil
}

func (s *State) elapsed(now time.Time) line {
	l := line{{spellTime(now.Sub(s.begun)), plain}}
	if s.interrupted {
		l = append(line{{"stopping ", yellow}}, l...)
	}
	return l
}

// A part is a piece of a status line, in a long and a short form.
type part struct {
	long, short string
	color       color
}

// join returns the parts in a line: in their long forms if these fit, else as many of
// the short forms as do.
func join(parts []part, columns int, separator string) line {
	var long, short line
	for i, p := range parts {
		if i > 0 {
			long, short = append(long, span{separator, faint}), append(short, span{" ", plain})
		}
		long, short = append(long, span{p.long, p.color}), append(short, span{p.short, p.color})
	}
	if long.width() <= columns {
		return long
	}
	for len(short) > 1 && short.width() > columns {
		short = short[:len(short)-2]
	}
	return short
}

// buildStatus counts builds.
func (s *State) buildStatus(now time.Time, columns int, st Style) line {
	c := s.countedBuilds()
	if c.all == 0 {
		return nil
	}
	m := st.marks()
	parts := []part{
		{fmt.Sprintf("%d running", c.running), fmt.Sprintf("%s%d", m.running, c.running), blue},
		{fmt.Sprintf("%d of %d built", c.built, c.all), fmt.Sprintf("%s%d/%d", m.built, c.built, c.all), green},
	}
	if s.interrupted {
		parts = append([]part{{"stopping", "stopping", yellow}}, parts...)
	}
	if c.failed > 0 {
		parts = append(parts, part{fmt.Sprintf("%d failed", c.failed), fmt.Sprintf("%s%d", m.failed, c.failed), red})
	}
	passed := spellTime(now.Sub(s.begun))
	parts = append(parts, part{passed, passed, plain})
	if c.blocked > 0 {
		parts = append(parts, part{fmt.Sprintf("%d cannot be built", c.blocked), fmt.Sprintf("%s%d", m.blocked, c.blocked), red})
	}
	if c.waiting > 0 {
		parts = append(parts, part{fmt.Sprintf("%d to come", c.waiting), fmt.Sprintf("%s%d", m.waiting, c.waiting), plain})
	}
	return join(parts, columns, m.dot)
}

// A buildCount says how many builds there are of each kind.
type buildCount struct{ running, built, failed, blocked, waiting, all int }

// countedBuilds counts builds, by the plan, or, if there is none, by what the store has counted.
func (s *State) countedBuilds() buildCount {
	c := buildCount{
		running: s.inState[running], built: s.inState[built], failed: s.inState[failed],
		blocked: s.inState[blocked], waiting: s.inState[waiting] + s.inState[stopped],
	}
	if len(s.planned) == 0 {
		done, whole := s.doneOf(activity.Builds)
		if left := int64(whole) - int64(done) - int64(c.running); left > 0 && whole < 1<<31 {
			c.waiting += int(left)
		}
	}
	c.all = c.running + c.built + c.failed + c.blocked + c.waiting
	return c
}

// copyStatus counts what is copied and fetched.
func (s *State) copyStatus(now time.Time, columns int, st Style) line {
	done, whole := s.moved()
	paths, ofPaths := s.doneOf(activity.CopyPaths)
	if done == 0 && ofPaths == 0 {
		return nil
	}
	m := st.marks()
	var parts []part
	if ofPaths > 0 {
		parts = append(parts, part{fmt.Sprintf("%d of %d paths", paths, ofPaths), fmt.Sprintf("%s%d/%d", m.fetch, paths, ofPaths), green})
	}
	parts = append(parts, part{spellPart(done, whole), spellBytes(done), plain})
	if s.countedBuilds().all == 0 { // else it is said above
		for _, p := range s.elapsed(now) {
			parts = append(parts, part{p.text, p.text, p.color})
		}
	}
	if rate := s.rate(now); rate > 0 {
		parts = append(parts, part{spellBytes(rate) + "/s", spellBytes(rate) + "/s", blue})
		if left := (whole - done) / rate; left > 0 {
			time := spellTime(time.Duration(min(left, 1<<20)) * time.Second)
			parts = append(parts, part{time + " left", "-" + time, plain})
		}
	}
	return join(parts, columns, m.dot)
}
