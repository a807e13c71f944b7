package live

import (
	"fmt"
	"strings"
	"time"

	"pix/activity"
)

// summaryAfter is how long copies take at least that are worth a summary.
const summaryAfter = time.Second

// Summary returns what is to be said at the end: each build that failed, why, and the last
// lines of its log; then how many were built, and how much was copied. Its lines are not
// cut. There are none if there is nothing to say.
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

// Failed reports whether the summary says why builds failed.
func (s *State) Failed() bool { return len(s.failed) > 0 }

func failureLines(b *build, st Style) []line {
	m := st.marks()
	head := line{{m.failed + " " + b.name, red}}
	where := " after " + spellTime(b.stop.Sub(b.start))
	if b.phase != "" {
		where = " in " + b.phase + where
	}
	lines := []line{append(head, span{" failed" + where, plain}), {{"  " + oneLine(b.drv), faint}}}
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

// buildTotal says how many builds ended how.
func (s *State) buildTotal(now time.Time, st Style) line {
	c := s.countedBuilds()
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
		l = append(l, span{fmt.Sprintf(", %d need what failed", c.blocked), plain})
	}
	if n := s.inState[stopped]; n > 0 {
		l = append(l, span{fmt.Sprintf(", %d stopped", n), plain})
	}
	if n := c.waiting - s.inState[stopped]; n > 0 {
		l = append(l, span{fmt.Sprintf(", %d not begun", n), plain})
	}
	return append(l, span{" in " + spellTime(now.Sub(s.begun)), plain})
}

// copyTotal says how much was copied, if that took a while.
func (s *State) copyTotal(now time.Time, st Style) line {
	passed := now.Sub(s.begun)
	done, _ := s.moved()
	if done == 0 || passed < summaryAfter {
		return nil
	}
	text := spellBytes(done)
	if paths, _ := s.doneOf(activity.CopyPaths); paths > 0 {
		text = plural(int(paths), "path", "paths") + st.marks().dot + text
	}
	text += fmt.Sprintf(" copied in %s, %s/s", spellTime(passed), spellBytes(uint64(float64(done)/passed.Seconds())))
	return line{{text, plain}}
}
