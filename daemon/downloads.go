package daemon

import (
	"context"
	"fmt"
	"io"
	"iter"

	"pix/protocol"
	"pix/store"
)

// NARsFromPaths returns an iterator over the archives of objects of which everything is known,
// in their order. All are asked for at once, so that many small ones cost little more than one
// round trip.
//
// The connection is busy until the iteration ends: a call on it in the body of the loop is
// [ErrBusy]. Each archive is read to its end before the next; it is verified as by
// [Conn.NARFromPath]. Where that is not done, or after an error, which is the last pair, the
// connection is broken unless it was about the last archive.
func (c *Conn) NARsFromPaths(ctx context.Context, infos []*store.PathInfo) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		if err := c.archives(ctx, infos, yield); err != nil {
			yield(nil, err)
		}
	}
}

// NARsFromPaths returns an iterator over the archives of objects of which everything is known:
// see [Conn.NARsFromPaths]. It has a connection for itself.
func (p *Pool) NARsFromPaths(ctx context.Context, infos []*store.PathInfo) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		err := p.withLease(ctx, func(c *Conn) error { return c.archives(ctx, infos, yield) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// archives requests archives, and yields them one after the other until the loop ends. A panic or
// runtime.Goexit may also end the loop, so deferred calls release everything.
func (c *Conn) archives(ctx context.Context, infos []*store.PathInfo, yield func(io.Reader, error) bool) error {
	calls, err := c.askArchives(ctx, infos)
	if err != nil || len(calls) == 0 {
		return err
	}
	defer c.leaveAlone()
	c.markCaller()
	rest := len(calls)
	defer func() {
		if rest > 0 { // the other archives are still to come
			c.fail(ErrAbandoned)
		}
	}()
	for i, k := range calls {
		err := c.await(ctx, k, nil)
		rest--
		if err != nil {
			return err
		}
		archive := c.newArchive(ctx, k, infos[i], func() {})
		archive.followed = rest > 0
		if !archive.yield(yield) {
			return nil
		}
	}
	return nil
}

// yield yields an archive and closes it, and reports whether the loop continues. Leaving the loop
// before the last archive breaks the connection, so the rest of this archive is not read.
func (r *archiveReader) yield(yield func(io.Reader, error) bool) (goesOn bool) {
	defer r.conn.endCallback()
	defer func() {
		if r.followed && !goesOn {
			r.conn.fail(ErrAbandoned)
		}
		r.Close()
	}()
	return yield(r, nil)
}

// askArchives takes the connection, and sends all requests at once.
func (c *Conn) askArchives(ctx context.Context, infos []*store.PathInfo) ([]*call, error) {
	var p []byte
	calls := make([]*call, len(infos))
	for i, info := range infos {
		if info.NARSize == 0 {
			return nil, fmt.Errorf("the size of the archive of '%s' is not known", info.Path)
		}
		var err error
		p, calls[i], err = c.newCall(ctx, p, &protocol.NarFromPathRequest{Path: info.Path}, new(protocol.None), true)
		if err != nil {
			return nil, err
		}
	}
	if len(calls) == 0 {
		return nil, nil
	}
	if err := c.acquireSlots(ctx, protocol.NarFromPath, int64(c.opts.Window)); err != nil {
		return nil, err
	}
	if err := c.post(p, calls...); err != nil {
		c.leaveAlone()
		return nil, &LostError{protocol.NarFromPath, err}
	}
	return calls, nil
}
