package live

import (
	"fmt"
	"time"

	"pix/activity"
)

// statusLines returns the last lines of the view, with the totals of builds and copies.
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

// elapsed returns the time since the first event.
func (s *State) elapsed(now time.Time) line {
	l := line{{formatDuration(now.Sub(s.begun)), plain}}
	if s.interrupted {
		l = append(line{{"stopping ", yellow}}, l...)
	}
	return l
}

// A statusPart is a part of a status line, in a long and a short form.
type statusPart struct {
	long, short string
	color       color
}

// joinParts joins parts to a line, in their long forms if these fit, else as many short forms as fit.
func joinParts(parts []statusPart, columns int, separator string) line {
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

// buildStatus returns the status line of builds, or nil if there are none.
func (s *State) buildStatus(now time.Time, columns int, st Style) line {
	c := s.countStates()
	if c.all == 0 {
		return nil
	}
	m := st.marks()
	parts := []statusPart{
		{fmt.Sprintf("%d running", c.running), fmt.Sprintf("%s%d", m.running, c.running), blue},
		{fmt.Sprintf("%d of %d built", c.built, c.all), fmt.Sprintf("%s%d/%d", m.built, c.built, c.all), green},
	}
	if s.interrupted {
		parts = append([]statusPart{{"stopping", "stopping", yellow}}, parts...)
	}
	if c.failed > 0 {
		parts = append(parts, statusPart{fmt.Sprintf("%d failed", c.failed), fmt.Sprintf("%s%d", m.failed, c.failed), red})
	}
	elapsed := formatDuration(now.Sub(s.begun))
	parts = append(parts, statusPart{elapsed, elapsed, plain})
	if c.blocked > 0 {
		parts = append(parts, statusPart{fmt.Sprintf("%d cannot be built", c.blocked), fmt.Sprintf("%s%d", m.blocked, c.blocked), red})
	}
	if c.waiting > 0 {
		parts = append(parts, statusPart{fmt.Sprintf("%d waiting", c.waiting), fmt.Sprintf("%s%d", m.waiting, c.waiting), plain})
	}
	if left, ok := s.left(now); ok && left >= minEstimate {
		text := "~" + formatDuration(left)
		parts = append(parts, statusPart{text + " left", "-" + text, plain})
	}
	return joinParts(parts, columns, m.dot)
}

// buildNumbers are the numbers of builds in each state.
type buildNumbers struct{ running, built, failed, blocked, waiting, all int }

// countStates returns the numbers of builds. Without a plan, the number of waiting builds is the one that the store
// reports.
func (s *State) countStates() buildNumbers {
	c := buildNumbers{
		running: s.inState[running], built: s.inState[built], failed: s.inState[failed],
		blocked: s.inState[blocked], waiting: s.inState[waiting] + s.inState[stopped],
	}
	if len(s.planned) == 0 {
		done, expected := s.progressOf(activity.Builds)
		if left := int64(expected) - int64(done) - int64(c.running); left > 0 && expected < 1<<31 {
			c.waiting += int(left)
		}
	}
	c.all = c.running + c.built + c.failed + c.blocked + c.waiting
	return c
}

// copyStatus returns the status line of copies and downloads, or nil if there are none.
func (s *State) copyStatus(now time.Time, columns int, st Style) line {
	done, expected := s.copiedBytes()
	paths, allPaths := s.progressOf(activity.CopyPaths)
	if done == 0 && allPaths == 0 {
		return nil
	}
	m := st.marks()
	var parts []statusPart
	if allPaths > 0 {
		parts = append(parts, statusPart{fmt.Sprintf("%d of %d paths", paths, allPaths), fmt.Sprintf("%s%d/%d", m.fetch, paths, allPaths), green})
	}
	parts = append(parts, statusPart{formatProgress(done, expected), formatBytes(done), plain})
	if s.countStates().all == 0 { // else the line of builds has the time
		for _, p := range s.elapsed(now) {
			parts = append(parts, statusPart{p.text, p.text, p.color})
		}
	}
	if rate := s.rate(now); rate > 0 {
		parts = append(parts, statusPart{formatBytes(rate) + "/s", formatBytes(rate) + "/s", blue})
		if left := (expected - done) / rate; left > 0 {
			time := formatDuration(time.Duration(min(left, 1<<20)) * time.Second)
			parts = append(parts, statusPart{time + " left", "-" + time, plain})
		}
	}
	return joinParts(parts, columns, m.dot)
}
