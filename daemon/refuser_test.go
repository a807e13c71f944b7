package daemon_test

import (
	"fmt"
	"io"

	"pix/wire"
)

// A refusal is the point at which a daemon refuses an upload.
type refusal struct {
	name   string
	frames int   // number of frames that it reads before, if not negative
	bytes  int64 // number of bytes of contents that it reads before, if frames is negative
	drains bool  // it reads the rest of the frames, like Nix after it has created their reader
}

// A refuser is a daemon that refuses the first upload and continues like Nix.
type refuser struct {
	*peer
	refusal
	size int // size of the contents
}

func (r *refuser) serve() {
	if r.next() == nil {
		return
	}
	frames := wire.NewFrameReader(r.in)
	ended := r.readSome(frames)
	r.fail(refusedText)
	switch {
	case ended:
	case r.drains:
		frames.Drain()
	default:
		r.takeFramesForOperations()
		return
	}
	r.peer.serve()
}

// readSome reads the part of the contents that a daemon reads before it refuses. It returns
// true at their end.
func (r *refuser) readSome(frames *wire.FrameReader) (ended bool) {
	if r.frames < 0 {
		n, _ := io.CopyN(io.Discard, frames, r.bytes)
		return n < r.bytes
	}
	for range r.frames {
		n, err := r.in.Uint64()
		if err != nil || n == 0 {
			return true
		}
		r.in.Discard(n)
	}
	return false
}

// takeFramesForOperations reads the next word as an operation. It must be none, or the rest of
// few bytes that were not sent yet.
func (r *refuser) takeFramesForOperations() {
	op, err := r.in.Uint64()
	if err != nil {
		return
	}
	if isNixOperation(op) && !(op == 1 && r.frames > 0 && r.size < 15) {
		r.t.Errorf("%s, %d bytes: the daemon takes a frame for operation %d", r.name, r.size, op)
	}
	for range 2 {
		r.fail(fmt.Sprintf("invalid operation %d", op))
	}
}

// isNixOperation reports whether any Nix from 2.3 to 2.36 has the operation.
func isNixOperation(op uint64) bool {
	return op == 1 || 3 <= op && op <= 14 || op == 16 || 18 <= op && op <= 50 || op == 1000 || op == 1001
}
