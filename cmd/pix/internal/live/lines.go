package live

import (
	"fmt"
	"strings"
	"time"

	"pix/activity"
)

// Lines returns the lines of the view at time now. They fit into the columns and rows. There are no lines while
// nothing runs.
func (s *State) Lines(now time.Time, columns, rows int, st Style) []string {
	if rows <= 0 || columns <= 0 {
		return nil
	}
	status := s.statusLines(now, columns, st)
	status = status[:min(len(status), max(rows-1, 1))]
	items := s.choose(rows - len(status))
	if len(items) == 0 && len(status) == 0 {
		return nil
	}
	all := append(s.rows(s.arrange(items), "", 0, st, now, columns), status...)
	lines := make([]string, len(all))
	for i, l := range all {
		lines[i] = st.render(l, columns)
	}
	return lines
}

// row returns the line of an item.
func (s *State) row(it *treeItem, st Style, now time.Time) line {
	if it.build != nil {
		return s.buildRow(it.build, st, now)
	}
	return s.nodeRow(it.node, st, now)
}

func (s *State) buildRow(b *build, st Style, now time.Time) line {
	m := st.marks()
	switch b.state {
	case running:
		l := line{{m.running, blue}, {" " + b.name, bold}}
		if b.machine != "" {
			l = append(l, span{" on " + b.machine, faint})
		}
		if b.phase != "" {
			l = append(l, span{" " + b.phase, yellow})
		}
		l = append(l, span{" " + formatDuration(now.Sub(b.start)), plain}, span{b.estimateText(), faint})
		if b.postBuild {
			l = append(l, span{" post-build hook", yellow})
		}
		if last := b.lastLine(); last != "" {
			l = append(l, span{"  " + last, faint})
		}
		return l
	case built:
		return line{{m.built, green}, {" " + b.name, plain}, {" " + formatDuration(b.stop.Sub(b.start)), faint}}
	case failed:
		l := line{{m.failed, red}, {" " + b.name, bold}, {" failed", red}, {" after " + formatDuration(b.stop.Sub(b.start)), plain}}
		if len(b.reason) > 0 {
			l = append(l, span{"  " + strings.TrimSpace(b.reason[0]), faint})
		}
		return l
	case blocked:
		return line{{m.blocked, red}, {" " + b.name, plain}, {" needs a failed build", faint}}
	case stopped:
		return line{{m.blocked, faint}, {" " + b.name, plain}, {" stopped", faint}}
	}
	l := line{{m.waiting, faint}, {" " + b.name, plain}}
	if b.missingInputs > 0 {
		l = append(l, span{" waits for " + fmt.Sprint(b.missingInputs), faint})
	}
	return l
}

// nodeRow returns the line of an activity that is not a build.
func (s *State) nodeRow(n *node, st Style, now time.Time) line {
	m := st.marks()
	var l line
	amount := n.amount()
	switch n.start.Type {
	case activity.Substitute:
		l = line{{m.fetch, blue}, {" " + nameOf(n.text(0)), bold}}
		amount = s.substituted(n)
		if from := n.text(1); from != "" {
			amount = append(amount, "from "+safeLine(from))
		}
	case activity.CopyPath:
		l = line{{m.send, blue}, {" " + n.title(), bold}}
	case activity.FileTransfer:
		l = line{{m.fetch, blue}, {" " + n.title(), plain}}
	default:
		l = line{{m.other, blue}, {" " + n.title(), plain}}
	}
	l = append(l, span{" " + formatDuration(now.Sub(n.since)), plain})
	if len(amount) > 0 {
		l = append(l, span{"  " + strings.Join(amount, st.marks().dot), plain})
	}
	if n.status != "" {
		l = append(l, span{"  " + n.status, faint})
	}
	return l
}

// title returns the title of an activity: the name of the path, its text, or its type.
func (n *node) title() string {
	if n.start.Type == activity.CopyPath && n.text(0) != "" {
		return nameOf(n.text(0))
	}
	if text := shortPaths(safeLine(n.start.Text)); text != "" {
		return strings.TrimSuffix(text, "...")
	}
	if text := n.text(0); text != "" {
		return shortPaths(safeLine(text))
	}
	return n.start.Type.String()
}

// amount returns the progress of an activity and what it has found.
func (n *node) amount() (parts []string) {
	switch {
	case !n.hasProgress:
	case n.countsBytes():
		parts = append(parts, formatProgress(n.done, n.expected))
	case n.expected > 0 || n.done > 0:
		parts = append(parts, fmt.Sprintf("%d of %d", n.done, max(n.expected, n.done)))
	}
	for _, f := range []struct {
		result activity.ResultType
		text   string
	}{
		{activity.FileLinked, "files linked"},
		{activity.UntrustedPath, "untrusted"},
		{activity.CorruptedPath, "corrupted"},
	} {
		if count := n.found[f.result]; count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count, f.text))
		}
	}
	if n.saved > 0 {
		parts = append(parts, formatBytes(n.saved)+" saved")
	}
	return parts
}

func (n *node) countsBytes() bool {
	return n.start.Type == activity.CopyPath || n.start.Type == activity.FileTransfer
}

// substituted returns the progress of a substitution: of its copy or, before that has started, of its download.
func (s *State) substituted(sub *node) []string {
	var best *node
	for _, n := range s.nodes {
		if !n.countsBytes() || n.done == 0 || best != nil && best.start.Type == activity.CopyPath {
			continue
		}
		s.walkParents(n, func(parent *node) (stop bool) {
			if parent == sub {
				best = n
			}
			return parent == sub
		})
	}
	if best == nil {
		return nil
	}
	return best.amount()
}
