package live

import (
	"time"

	"pix/activity"
)

// A node is a running activity.
type node struct {
	start  activity.Start
	serial int // increases in the order of starts
	since  time.Time
	build  *build // of this activity, or nil

	status      string // of a fetch
	hasProgress bool
	done        uint64
	expected    uint64 // 0 if unknown
	failed      uint64

	expects map[activity.Type]uint64 // the expected progress of activities of other types below it
	found   map[activity.ResultType]uint64
	saved   uint64 // bytes, by hard links
}

// text returns a text field of the activity, or "".
func (n *node) text(i int) string {
	if i >= len(n.start.Fields) {
		return ""
	}
	s, _ := n.start.Fields[i].Text()
	return s
}

// number returns a number field of a result, or 0.
func number(fields []activity.Field, i int) uint64 {
	if i >= len(fields) {
		return 0
	}
	n, _ := fields[i].Number()
	return n
}

// update stores a result of the activity, except phases and log lines.
func (n *node) update(r activity.Result) {
	switch r.Type {
	case activity.Progress:
		n.hasProgress = true
		n.done, n.expected, n.failed = number(r.Fields, 0), number(r.Fields, 1), number(r.Fields, 3)
	case activity.SetExpected:
		if len(n.expects) < maxTypes {
			setKey(&n.expects, activity.Type(number(r.Fields, 0)), number(r.Fields, 1))
		}
	case activity.FetchStatus:
		if len(r.Fields) > 0 {
			s, _ := r.Fields[0].Text()
			n.status = safeLine(s)
		}
	case activity.FileLinked, activity.UntrustedPath, activity.CorruptedPath:
		setKey(&n.found, r.Type, n.found[r.Type]+1)
		if r.Type == activity.FileLinked {
			n.saved += number(r.Fields, 0)
		}
	}
}

// maxTypes is the largest number of types in the expectations of an activity.
const maxTypes = 64

// setKey sets (*m)[k], and creates the map if it is nil.
func setKey[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}
