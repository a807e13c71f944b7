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
// The connection is busy until the iteration ends. Each archive is read to its end before the
// next; it is verified as by [Conn.NARFromPath]. Where that is not done, or after an error, which
// is the last pair, the connection is broken unless it was about the last archive.
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
		l, err := p.lend(ctx, false)
		if err == nil {
			err = l.archives(ctx, infos, yield)
			l.release()
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// archives asks for archives, and hands them on one after the other until yield has enough.
func (c *Conn) archives(ctx context.Context, infos []*store.PathInfo, yield func(io.Reader, error) bool) error {
	calls, err := c.askArchives(ctx, infos)
	if err != nil || len(calls) == 0 {
		return err
	}
	defer c.leaveAlone()
	for i, k := range calls {
		if err := c.finish(ctx, k, nil); err != nil {
			if i < len(calls)-1 {
				c.fail(ErrAbandoned) // the other archives are still to come
			}
			return err
		}
		archive := c.newArchive(ctx, k, infos[i], func() {})
		archive.followed = i < len(calls)-1
		goOn := yield(archive, nil)
		archive.Close()
		if archive.followed && (!goOn || archive.err != io.EOF) {
			c.fail(ErrAbandoned)
		}
		if !goOn {
			return nil
		}
	}
	return nil
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
	if ctx.Err() != nil || c.slots.Acquire(ctx, int64(c.opts.Window)) != nil {
		return nil, cancelled(ctx, protocol.NarFromPath)
	}
	if err := c.post(p, calls...); err != nil {
		c.leaveAlone()
		return nil, &LostError{protocol.NarFromPath, err}
	}
	return calls, nil
}
