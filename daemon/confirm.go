package daemon

import (
	"context"
	"errors"
	"fmt"

	"pix/activity"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
)

// errNotRead breaks the connection after an upload that the daemon answered and may not have read.
var errNotRead = errors.New("the daemon answered an upload and may not have read it")

// A refusedError is the reason why a connection is broken after a refused upload.
type refusedError struct {
	said *activity.Error // the refusal
	why  error           // the failure of the connection
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the daemon refused an upload and may not have read it: %v", e.said)
}

// Unwrap returns the refusal and the failure of the connection.
func (e *refusedError) Unwrap() []error { return []error{e.said, e.why} }

// confirm checks, after a call that failed or was answered early, that the daemon has read the
// whole body, and breaks the connection if not. The call has the connection for itself until
// confirm returns, so that no other call gets the answer to contents that the daemon takes for
// a request.
func (s *sender) confirm(ctx context.Context) {
	c := s.conn
	if c.Err() != nil {
		return
	}
	if err := c.probe(ctx); err != nil {
		c.fail(fmt.Errorf("%w: %w", errNotRead, err))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = nil
}

// ProbePath returns the path that [Conn] asks for after a refused upload. No store has it. It
// is always the same, so that a recorded conversation can be replayed; it is "" if dir is no
// store directory.
func ProbePath(dir storepath.Dir) storepath.Path {
	// No object is of the type "probe", so no object has a path with that fingerprint.
	path, err := dir.MakePath("probe", nixhash.Sum(nixhash.SHA256, nil), "probe")
	if err != nil {
		return ""
	}
	return path
}

// probe asks whether ProbePath is valid, and returns an error unless the daemon answers within
// DrainTimeout that it is not. A daemon that has not read a body to its end takes the rest for
// requests: it answers those first, or reports an invalid operation and closes the connection.
func (c *Conn) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.DrainTimeout, errLate)
	defer cancel()
	reply := new(protocol.IsValidPathReply)
	noHandler := context.Background()
	p, k, err := c.newCall(noHandler, nil, &protocol.IsValidPathRequest{Path: ProbePath(c.Dir())}, reply, true)
	if err == nil {
		err = c.post(p, k)
	}
	if err == nil {
		err = c.wait(ctx, k)
	}
	if err == errLeft {
		return cancelled(ctx, k.op)
	}
	if err == nil && reply.Valid {
		return errors.New("it takes a path for valid that no store has")
	}
	return err
}
