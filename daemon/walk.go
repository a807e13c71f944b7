package daemon

import (
	"context"
	"errors"
	"iter"
	"slices"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// QueryPathInfos returns an iterator over what the daemon knows of paths, in their order. The
// questions are pipelined: many cost little more than one round trip.
//
// An error is the last pair: a [*store.NotFoundError] if a path is not valid. The loop may
// use the connection.
func (c *Conn) QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return walkPaths(ctx, c.asSource, paths)
}

// QueryClosure returns an iterator over what the daemon knows of the roots, of all paths that
// they refer to, and so on: see [store.Closure].
func (c *Conn) QueryClosure(ctx context.Context, roots ...storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return store.Closure(ctx, c, roots...)
}

// A connSource gives a connection for queries. The caller calls release when it needs it no
// more. again says that after a loss of the connection there may be another.
type connSource func(ctx context.Context) (c *Conn, release func(), again bool, err error)

func (c *Conn) asSource(context.Context) (*Conn, func(), bool, error) {
	return c, func() {}, false, nil
}

func walkPaths(ctx context.Context, conns connSource, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return func(yield func(*store.PathInfo, error) bool) {
		w := &walk{todo: slices.Clone(paths)}
		w.run(ctx, conns, yield)
	}
}

// A walk asks for many path infos.
type walk struct {
	todo  []storepath.Path // those that are not answered
	calls []infoCall       // the questions about the first of them
}

// An infoCall is a question about a path.
type infoCall struct {
	*call
	reply *protocol.QueryPathInfoReply
}

// errLoopLeft says that nobody wants to know more.
var errLoopLeft = errors.New("loop left")

// run yields all path infos. If a connection is lost and there is another, what was not yet
// answered is asked there, unless nothing was answered since the last loss.
func (w *walk) run(ctx context.Context, conns connSource, yield func(*store.PathInfo, error) bool) {
	retried := false
	for {
		answered, again, err := w.onOne(ctx, conns, yield)
		retried = retried && !answered
		if err == nil || err == errLoopLeft {
			return
		}
		if !again || retried || !errors.Is(err, ErrConnLost) || ctx.Err() != nil {
			yield(nil, err)
			return
		}
		retried = true
	}
}

// onOne gets a connection and goes on with it.
func (w *walk) onOne(ctx context.Context, conns connSource, yield func(*store.PathInfo, error) bool) (answered, again bool, err error) {
	c, release, again, err := conns(ctx)
	if err != nil {
		return false, again, err
	}
	defer release()
	answered, err = w.on(ctx, c, yield)
	return answered, again, err
}

// on goes on with a connection until there is nothing left to be asked.
func (w *walk) on(ctx context.Context, c *Conn, yield func(*store.PathInfo, error) bool) (answered bool, err error) {
	if c.params.Features.Has(protocol.PathInfos) {
		return w.inBatches(ctx, c, yield)
	}
	defer w.abandon(c)
	for len(w.todo) > 0 {
		if err := w.ask(ctx, c); err != nil {
			return answered, err
		}
		info, err := w.take(ctx, c)
		if err != nil {
			return answered, err
		}
		answered = true
		if !yield(info, nil) {
			return answered, errLoopLeft
		}
	}
	return answered, nil
}

// maxBatch is how many paths are asked about in one request. Each answer takes some hundred bytes.
const maxBatch = 1024

// inBatches does the same with a daemon that answers about many paths at once.
func (w *walk) inBatches(ctx context.Context, c *Conn, yield func(*store.PathInfo, error) bool) (answered bool, err error) {
	for len(w.todo) > 0 {
		some := w.todo[:min(len(w.todo), maxBatch)]
		reply := new(protocol.QueryPathInfosReply)
		reply.Limit(len(some))
		if err := c.askInto(ctx, &protocol.QueryPathInfosRequest{Paths: some}, reply); err != nil {
			return answered, err
		}
		infos := make(map[storepath.Path]*store.PathInfo, len(reply.Infos))
		for i := range reply.Infos {
			infos[reply.Infos[i].Path] = &reply.Infos[i]
		}
		for _, path := range some {
			info, err := infoOf(path, infos[path])
			if err != nil {
				return answered, err
			}
			answered, w.todo = true, w.todo[1:]
			if !yield(info, nil) {
				return answered, errLoopLeft
			}
		}
	}
	return answered, nil
}

// ask sends as many questions as the connection has room for, all at once, when half of
// those before are answered. It waits for room only if there are none under way.
func (w *walk) ask(ctx context.Context, c *Conn) error {
	if len(w.calls) > c.opts.Window/2 {
		return nil
	}
	var p []byte
	var calls []*call
	var err error
	for _, path := range w.todo[len(w.calls):] {
		reply := new(protocol.QueryPathInfoReply)
		req := &protocol.QueryPathInfoRequest{Path: path}
		longer, k, encodeErr := c.newCall(ctx, p, req, reply, false)
		if encodeErr != nil {
			err = encodeErr
			break // for those before, there are still answers
		}
		if !c.slots.TryAcquire(1) {
			if len(w.calls) > 0 {
				break
			}
			if err = c.acquireSlots(ctx, k.op, 1); err != nil {
				break
			}
		}
		p = longer
		calls, w.calls = append(calls, k), append(w.calls, infoCall{k, reply})
	}
	if len(w.calls) == 0 {
		return err
	}
	if len(calls) == 0 {
		return nil
	}
	if err := c.post(p, calls...); err != nil {
		c.slots.Release(int64(len(calls)))
		w.calls = w.calls[:len(w.calls)-len(calls)]
		if len(w.calls) == 0 {
			return &LostError{protocol.QueryPathInfo, err}
		}
	}
	return nil
}

// take waits for the answer about the first path.
func (w *walk) take(ctx context.Context, c *Conn) (*store.PathInfo, error) {
	k := w.calls[0]
	if err := c.wait(ctx, k.call); err == errLeft {
		return nil, cancelled(ctx, k.op)
	} else if err != nil {
		return nil, err
	}
	path := w.todo[0]
	w.todo, w.calls = w.todo[1:], w.calls[1:]
	return infoOf(path, k.reply.Info)
}

// abandon lets go of questions whose answers nobody waits for.
func (w *walk) abandon(c *Conn) {
	for _, k := range w.calls {
		k.events.leave()
	}
	if n := len(w.calls); n > 0 {
		c.drain(w.calls[n-1].call)
	}
	w.calls = nil
}
