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
	select {
	case <-p.done:
		return nil, errPoolClosed
	default:
	}
	opts := p.opts
	opts.Settings = p.settings
	c, err := DialTransport(ctx, p.transport, &opts)
	if err != nil {
		return nil, err
	}
	c.alone = true
	c.workers.Go(func() {
		select {
		case <-p.done:
			c.fail(ErrClosed)
		case <-c.lost:
		}
	})
	return c, nil
}

// SetOptions sends settings, which hold on the connection until the next ones. A daemon that does not
// trust us ignores most of them.
func (c *Conn) SetOptions(ctx context.Context, s *Settings) error {
	_, err := ask[protocol.None](ctx, c, s)
	return err
}
