package live

import (
	"time"

	"pix/activity"
)

// A node is an activity that has begun and not ended.
type node struct {
	start  activity.Start
	serial int // in the order in which they began
	since  time.Time
	build  *build // that this is, or nil

	status  string // what it said last
	counted bool   // said how far it is
	done    uint64
	whole   uint64 // 0 if it does not say
	failed  uint64

	expects map[activity.Type]uint64 // of activities of other types, below it
	found   map[activity.ResultType]uint64
	saved   uint64 // bytes, by links
}

// text returns a field of the activity that is a text, or "".
func (n *node) text(i int) string {
	if i >= len(n.start.Fields) {
		return ""
	}
	s, _ := n.start.Fields[i].Text()
	return s
}

// number returns a field of a result that is a number, or 0.
func number(fields []activity.Field, i int) uint64 {
	if i >= len(fields) {
		return 0
	}
	n, _ := fields[i].Number()
	return n
}

// result takes in what an activity has come to, but for what is only said of builds.
func (n *node) result(r activity.Result) {
	switch r.Type {
	case activity.Progress:
		n.counted = true
		n.done, n.whole, n.failed = number(r.Fields, 0), number(r.Fields, 1), number(r.Fields, 3)
	case activity.SetExpected:
		if len(n.expects) < maxTypes {
			setIn(&n.expects, activity.Type(number(r.Fields, 0)), number(r.Fields, 1))
		}
	case activity.FetchStatus:
		if len(r.Fields) > 0 {
			s, _ := r.Fields[0].Text()
			n.status = oneLine(s)
		}
	case activity.FileLinked, activity.UntrustedPath, activity.CorruptedPath:
		setIn(&n.found, r.Type, n.found[r.Type]+1)
		if r.Type == activity.FileLinked {
			n.saved += number(r.Fields, 0)
		}
	}
}

// maxTypes is how many types an activity may say expectations of.
const maxTypes = 64

func setIn[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}
