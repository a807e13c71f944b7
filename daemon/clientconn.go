package daemon

import (
	"context"

	"pix/protocol"
	"pix/store"
)

var _ store.ClientConnector = (*Pool)(nil)

// ConnectClient returns a [*Conn] on a new connection, for a client of a server in front of the daemon.
// The connection takes none of the pool's places, and no other caller uses it. The pool's settings hold
// on it until [Conn.SetOptions] replaces them. It ends when it is closed, or with the pool.
//
// Every operation has the connection for itself, so no event is dropped, and a call that is cancelled
// closes the connection, which makes the daemon stop.
func (p *Pool) ConnectClient(ctx context.Context) (store.Store, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.open, cancel)()
	opts := p.opts
	opts.Settings = p.settings
	c, err := DialTransport(ctx, p.transport, &opts)
	if p.open.Err() != nil {
		if err == nil {
			c.Close()
		}
		return nil, errPoolClosed
	}
	if err != nil {
		return nil, err
	}
	c.alone = true
	stop := context.AfterFunc(p.open, func() { c.fail(ErrClosed) })
	context.AfterFunc(c.alive, func() { stop() })
	return c, nil
}

// SetOptions sends settings, which hold on the connection until SetOptions is called again. A daemon that
// does not trust us ignores most of them.
func (c *Conn) SetOptions(ctx context.Context, s *Settings) error {
	_, err := ask[protocol.None](ctx, c, s)
	return err
}
