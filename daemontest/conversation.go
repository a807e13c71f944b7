package daemontest

import (
	"bytes"

	"pix/protocol"
)

// A conversation is what a trace has of one connection.
type conversation struct {
	number   int // in the trace
	greeted  bool
	params   protocol.Params
	greeting protocol.Greeting
	welcome  []byte // the messages after the greeting
	refused  bool   // the last of them is an error
	calls    []*recordedCall
	hungUp   bool // it was the daemon that ended it
}

// A recordedCall is a request and what came of it.
type recordedCall struct {
	line     int    // of the request in the trace
	request  string // as it stands there
	body     protocol.Body
	steps    []step
	answered int // how many of the steps make up the answer; 0 if it did not come
	failed   bool
}

// A step is something that the daemon says, or hears of the body of a request.
type step struct {
	say  []byte
	hear []byte // nil if the daemon says something
	line int
}

func (s step) equal(other step) bool {
	return bytes.Equal(s.say, other.say) && bytes.Equal(s.hear, other.hear) && (s.hear == nil) == (other.hear == nil)
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

// beginsLike reports whether the first n calls of both are the same.
func (c *conversation) beginsLike(other *conversation, n int) bool {
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

// needed returns how many calls must be made for the conversation to be a whole one: what
// comes after a call without an answer may have been sent too late to be read.
func (c *conversation) needed() int {
	for i, k := range c.calls {
		if k.answered == 0 {
			return i + 1
		}
	}
	return len(c.calls)
}
