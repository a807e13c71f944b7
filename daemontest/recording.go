package daemontest

import (
	"slices"
	"sync"
)

// A recording is the conversations of a trace, and what became of them.
type recording struct {
	conversations []*conversation

	taking sync.Mutex
	taken  map[*conversation]bool
	asked  map[*conversation]int // how many calls were made
}

// take returns a conversation for a new connection, or nil if there is none left.
func (r *recording) take() *conversation {
	r.taking.Lock()
	defer r.taking.Unlock()
	for _, c := range r.conversations {
		if !r.taken[c] {
			r.taken[c] = true
			return c
		}
	}
	return nil
}

// asks notes that the next request on a connection is that one. The connection may turn out to
// be another than it was taken for. The result is nil if there is no such request.
func (r *recording) asks(c *conversation, n int, request string) *conversation {
	r.taking.Lock()
	defer r.taking.Unlock()
	next := func(d *conversation) bool { return n < len(d.calls) && d.calls[n].request == request }
	if !next(c) {
		i := slices.IndexFunc(r.conversations, func(d *conversation) bool {
			return !r.taken[d] && next(d) && c.beginsLike(d, n)
		})
		if i < 0 {
			return nil
		}
		r.taken[c], r.asked[c] = false, 0
		c = r.conversations[i]
		r.taken[c] = true
	}
	r.asked[c] = n + 1
	return c
}
