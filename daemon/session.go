package daemon

import (
	"context"

	"pix/store"
)

// A Session is one connection of a [Pool], whose temporary roots hold until the session is
// closed: an added path stays until it is built. Its methods may be called by any number of
// goroutines. Calls that need the connection for themselves wait for each other, and all
// calls wait until an archive that was opened here is read or closed. A handler or a reader
// that calls the session which called it gets [ErrBusy].
type Session struct {
	*Conn
	lease *lease
}

var _ store.Sessioner = (*Pool)(nil)

// Session returns a [*Session], which must be closed. It does not wait for other calls: its
// connection does not count against Options.MaxConns.
func (p *Pool) Session(ctx context.Context) (store.Store, error) {
	l, err := p.lendSession(ctx)
	if err != nil {
		return nil, err
	}
	return &Session{l.Conn, l}, nil
}

// Close releases the session's temporary roots, and closes its connection. Calls under way
// fail.
func (s *Session) Close() error {
	defer s.lease.release()
	return s.Conn.Close()
}
