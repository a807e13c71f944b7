package daemon

import (
	"context"

	"pix/store"
)

// A Session is one connection of a [Pool], whose temporary roots hold until the session is
// closed: what was added stays until it is built. Its methods may be called by any number
// of goroutines; those that need a connection for themselves wait for each other, and all
// wait for an archive that was opened here to be read or closed.
type Session struct {
	*Conn
	lease *lease
}

var _ store.Sessioner = (*Pool)(nil)

// Session returns a [*Session], which must be closed.
func (p *Pool) Session(ctx context.Context) (store.Store, error) {
	l, err := p.lend(ctx, true)
	if err != nil {
		return nil, err
	}
	return &Session{l.Conn, l}, nil
}

// Close lets go of the session's temporary roots, and closes its connection. Calls under way
// fail.
func (s *Session) Close() error {
	s.Conn.Close()
	s.lease.release()
	return nil
}
