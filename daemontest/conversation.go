package daemontest

import (
	"bytes"
	"slices"
	"sync"

	"pix/nixhash"
	"pix/protocol"
)

// A conversation is the part of a trace about one connection.
type conversation struct {
	number       int // the number of the connection in the trace
	greeted      bool
	params       protocol.Params
	greeting     protocol.Greeting
	welcome      []byte // the messages after the greeting
	refused      bool   // the last message of welcome is an error
	calls        []*recordedCall
	daemonHungUp bool // the daemon closed the connection
}

// A recordedCall is a request and its result.
type recordedCall struct {
	line     int    // the line of the request in the trace
	request  string // the text of the request in the trace
	body     protocol.Body
	steps    []step
	answered int // number of steps up to the end of the reply; 0 if there was no reply
	failed   bool
}

// A step is data that the daemon sends, or a part of the body of a request that it receives.
type step struct {
	send    []byte
	receive []byte  // nil if the daemon sends something, or for a digest
	digest  *digest // of the part that it receives, if the trace does not contain it
	line    int
}

// A digest is the size and the SHA-256 of a part of a body.
type digest struct {
	size uint64
	hash nixhash.Hash
}

func (s step) receives() bool { return s.receive != nil || s.digest != nil }

func (s step) equal(other step) bool {
	sameDigest := s.digest == other.digest || s.digest != nil && other.digest != nil && *s.digest == *other.digest
	return bytes.Equal(s.send, other.send) && bytes.Equal(s.receive, other.receive) && sameDigest && s.receives() == other.receives()
}

func (k *recordedCall) equal(other *recordedCall) bool {
	if k.request != other.request || k.answered != other.answered || k.failed != other.failed || len(k.steps) != len(other.steps) {
		return false
	}
	for i, s := range k.steps {
		if !s.equal(other.steps[i]) {
			return false
		}
	}
	return true
}

// startsLike reports whether the first n calls of both are equal.
func (c *conversation) startsLike(other *conversation, n int) bool {
	if c.greeted != other.greeted || c.params != other.params || c.greeting != other.greeting || !bytes.Equal(c.welcome, other.welcome) || len(other.calls) < n {
		return false
	}
	for i, k := range c.calls[:n] {
		if !k.equal(other.calls[i]) {
			return false
		}
	}
	return true
}

// numRequired returns the number of calls that a client must make. Calls after one without a
// reply are optional: they may have been sent too late to be read.
func (c *conversation) numRequired() int {
	for i, k := range c.calls {
		if k.answered == 0 {
			return i + 1
		}
	}
	return len(c.calls)
}

// A recording consists of the conversations of a trace and their state in the replay.
type recording struct {
	conversations []*conversation

	mu    sync.Mutex
	used  map[*conversation]bool
	calls map[*conversation]int // number of calls made
}

// next returns a conversation for a new connection, or nil if none is left.
func (r *recording) next() *conversation {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conversations {
		if !r.used[c] {
			r.used[c] = true
			return c
		}
	}
	return nil
}

// match records the next request on a connection. The connection may turn out to be another
// recorded one. A recording of pix monitor has the request without secrets. The result is nil if no
// recorded connection continues with this request.
func (r *recording) match(c *conversation, n int, request, withoutSecrets string) *conversation {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := func(d *conversation) bool {
		return n < len(d.calls) && (d.calls[n].request == request || d.calls[n].request == withoutSecrets)
	}
	if !next(c) {
		i := slices.IndexFunc(r.conversations, func(d *conversation) bool {
			return !r.used[d] && next(d) && c.startsLike(d, n)
		})
		if i < 0 {
			return nil
		}
		r.used[c], r.calls[c] = false, 0
		c = r.conversations[i]
		r.used[c] = true
	}
	r.calls[c] = n + 1
	return c
}
