package live

import (
	"fmt"
	"strings"
	"time"

	"pix/activity"
)

// minCopySummary is the time from which on copies have a line in the summary.
const minCopySummary = time.Second

// Summary returns the lines to print at the end: each failed build with its reason and the last lines of its log, then the
// number of builds and the copied bytes. The lines may be longer than the terminal is wide.
func (s *State) Summary(now time.Time, st Style) []string {
	var lines []line
	for _, b := range s.failed {
		lines = append(lines, failureLines(b, st)...)
	}
	if l := s.buildTotal(now, st); l != nil {
		lines = append(lines, l)
	}
	if l := s.copyTotal(now, st); l != nil {
		lines = append(lines, l)
	}
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = st.render(l, l.width())
	}
	return texts
}

// Failed reports whether the summary has failed builds.
func (s *State) Failed() bool { return len(s.failed) > 0 }

func failureLines(b *build, st Style) []line {
	m := st.marks()
	head := line{{m.failed + " " + b.name, red}}
	where := " after " + formatDuration(b.stop.Sub(b.start))
	if b.phase != "" {
		where = " in " + b.phase + where
	}
	lines := []line{append(head, span{" failed" + where, plain}), {{"  " + safeLine(b.drv), faint}}}
	for _, reason := range b.reason {
		lines = append(lines, line{{"  " + strings.TrimSpace(reason), plain}})
	}
	if len(b.tail) > 0 {
		lines = append(lines, line{{"  the last lines of its log:", faint}})
	}
	for _, text := range b.tail {
		lines = append(lines, line{{"  " + m.quote, faint}, {text, plain}})
	}
	return lines
}

// buildTotal returns the line with the numbers of builds, or nil if there were none.
func (s *State) buildTotal(now time.Time, st Style) line {
	c := s.countStates()
	if c.all == 0 {
		return nil
	}
	var l line
	if s.interrupted {
		l = append(l, span{"interrupted: ", yellow})
	}
	l = append(l, span{fmt.Sprintf("%d of %d built", c.built, c.all), green})
	if c.failed > 0 {
		l = append(l, span{fmt.Sprintf(", %d failed", c.failed), red})
	}
	if c.blocked > 0 {
		l = append(l, span{fmt.Sprintf(", %d need a failed build", c.blocked), plain})
	}
	if n := s.inState[stopped]; n > 0 {
		l = append(l, span{fmt.Sprintf(", %d stopped", n), plain})
	}
	if n := c.waiting - s.inState[stopped]; n > 0 {
		l = append(l, span{fmt.Sprintf(", %d not started", n), plain})
	}
	return append(l, span{" in " + formatDuration(now.Sub(s.begun)), plain})
}

// copyTotal returns the line with the copied bytes, or nil if copying took less than a second.
func (s *State) copyTotal(now time.Time, st Style) line {
	elapsed := now.Sub(s.begun)
	done, _ := s.copiedBytes()
	if done == 0 || elapsed < minCopySummary {
		return nil
	}
	text := formatBytes(done)
	if paths, _ := s.progressOf(activity.CopyPaths); paths > 0 {
		text = plural(int(paths), "path", "paths") + st.marks().dot + text
	}
	text += fmt.Sprintf(" copied in %s, %s/s", formatDuration(elapsed), formatBytes(uint64(float64(done)/elapsed.Seconds())))
	return line{{text, plain}}
}
