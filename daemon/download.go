package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// ErrAbandoned is the reason for breaking a connection on which an archive was closed long
// before its end.
var ErrAbandoned = errors.New("an archive was closed long before its end")

// drainSize is the largest rest of an archive that is read when it is closed early. Connecting
// again is cheaper than reading more.
const drainSize = 1 << 20

// A CorruptError reports that an archive differs from its path info.
type CorruptError struct {
	Path      storepath.Path
	Want, Got nixhash.Hash
	WantSize  uint64 // in bytes; 0 if unknown
	GotSize   uint64
}

func (e *CorruptError) Error() string {
	if e.WantSize != 0 && e.WantSize != e.GotSize {
		return fmt.Sprintf("the archive of '%s' has %d bytes instead of %d", e.Path, e.GotSize, e.WantSize)
	}
	return fmt.Sprintf("the archive of '%s' has the hash %s instead of %s", e.Path, e.Got.WithNix32(), e.Want.WithNix32())
}

// Unwrap returns a [*store.ModifiedError].
func (e *CorruptError) Unwrap() error {
	modified := &store.ModifiedError{Path: e.Path, Expected: e.Want, Got: e.Got}
	if e.WantSize != 0 && e.WantSize < e.GotSize {
		modified.Got = nixhash.Hash{} // the rest was not read
	}
	return modified
}

// NARFromPath returns the archive of an object. The error is a [*store.NotFoundError] if the
// path is not valid.
//
// The connection is busy until the archive was read to its end or closed: other calls wait.
// Reading obeys ctx. Instead of io.EOF the reader returns a [*CorruptError] if the archive
// differs from its path info, and the daemon's [*activity.Error] if the daemon failed in the
// middle. If the reader is closed early and at most a megabyte remains, Close reads it.
// Otherwise the connection is broken, and [Conn.Err] is [ErrAbandoned].
func (c *Conn) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := c.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := c.openArchive(ctx, info, nil)
	if err != nil {
		return nil, err // a nil *archiveReader would not be a nil io.ReadCloser
	}
	return r, nil
}

// openArchive requests the archive of an object. If there is no error, release is called when
// the connection is free again. release may be nil.
func (c *Conn) openArchive(ctx context.Context, info *store.PathInfo, release func()) (r *archiveReader, err error) {
	k, err := c.send(ctx, &protocol.NarFromPathRequest{Path: info.Path}, new(protocol.None), true)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r == nil { // also after a panic in a handler
			c.releaseExclusive()
		}
	}()
	if err := c.await(ctx, k, nil); err != nil {
		return nil, err
	}
	c.callers.clear() // from now on the caller reads, on any goroutine
	return c.newArchive(ctx, k, info, func() {
		c.endCallback()
		c.releaseExclusive()
		if release != nil {
			release()
		}
	}), nil
}

// newArchive returns the archive that follows the reply. At its end it calls release. From now
// on the connection waits for the caller, except while it reads.
func (c *Conn) newArchive(ctx context.Context, k *call, info *store.PathInfo, release func()) *archiveReader {
	r := &archiveReader{
		ctx: ctx, conn: c, call: k, info: info, release: release,
		stream: narStream{size: info.NARSize},
		hasher: nar.NewHasher(nixhash.SHA256),
	}
	r.unwatchContext = context.AfterFunc(ctx, func() { c.fail(cancelled(ctx, k.op)) })
	c.beginCallback()
	return r
}

// An archiveReader reads an archive from the connection. readLoop has yielded the stream to it.
type archiveReader struct {
	ctx            context.Context
	conn           *Conn
	call           *call
	info           *store.PathInfo
	release        func()
	unwatchContext func() bool // stops watching ctx

	// hasNext says that the reply to another call follows the archive. The size of the archive
	// is known then.
	hasNext bool

	stream narStream
	hasher *nar.Hasher
	err    error // the error at the end of the archive

	untraced []byte // the start of a length, not traced yet
}

// Read implements io.Reader.
func (r *archiveReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.hasNext {
		left := r.info.NARSize - r.stream.consumed
		if left == 0 {
			r.finish(r.corrupt())
			return 0, r.err
		}
		p = p[:min(uint64(len(p)), left)]
	}
	n, err := r.receive(p)
	if err != nil {
		r.finish(r.readError(err))
		return 0, r.err
	}
	mine, err := r.stream.consume(p[:n])
	r.hasher.Write(p[:mine])
	r.trace(p[:mine], err == errInArchive)
	switch {
	case err == nil && r.info.NARSize > 0 && r.stream.consumed > r.info.NARSize:
		r.finish(r.corrupt())
	case err == nil:
	case err == errInArchive:
		r.finish(r.readDaemonError(p[mine:n]))
		return max(0, mine-wire.WordSize), nil // the kind of the message is not a part of the archive
	case err != errArchiveEnds:
		r.finish(&LostError{r.call.op, err})
	case mine < n:
		r.finish(&LostError{r.call.op, &protocol.Error{What: "after the archive", Offset: r.conn.in.Offset(), Err: errUnrequested}})
	default:
		r.finish(r.verify())
	}
	return mine, nil
}

// receive reads from the connection. While it reads, the connection does not wait for the
// caller.
func (r *archiveReader) receive(p []byte) (int, error) {
	r.conn.endCallback()
	defer r.conn.beginCallback()
	return r.conn.in.Read(p)
}

// trace traces a piece of the archive. Only a complete word can be recognised as the kind of a
// message instead of a length, so an incomplete one is traced later.
func (r *archiveReader) trace(p []byte, endsWithKind bool) {
	if r.conn.opts.trace == nil {
		return
	}
	p = append(r.untraced, p...)
	shown := len(p) - r.stream.wordLen
	if endsWithKind {
		shown = len(p) - wire.WordSize
	}
	if shown > 0 {
		r.conn.opts.trace.body("←", p[:shown])
	}
	if r.untraced = nil; !endsWithKind {
		r.untraced = slices.Clone(p[shown:])
	}
}

// readError returns the reason for a failed read.
func (r *archiveReader) readError(err error) error {
	if r.ctx.Err() != nil {
		return cancelled(r.ctx, r.call.op)
	}
	if why := r.conn.Err(); why != nil {
		return &LostError{r.call.op, why}
	}
	return &LostError{r.call.op, r.conn.explain(describeEOF(err))}
}

// verify compares a complete archive with its path info.
func (r *archiveReader) verify() error {
	if size := r.info.NARSize; size != 0 && size != r.hasher.Size() || r.info.NARHash != r.hasher.Hash() {
		return r.corrupt()
	}
	return io.EOF
}

func (r *archiveReader) corrupt() error {
	return &CorruptError{r.info.Path, r.info.NARHash, r.hasher.Hash(), r.info.NARSize, r.hasher.Size()}
}

// readDaemonError reads the error message in the middle of an archive. Its kind was read
// already. more are the bytes after that.
func (r *archiveReader) readDaemonError(more []byte) error {
	kind := wire.AppendUint64(nil, uint64(protocol.MessageError))
	in := wire.NewReader(io.MultiReader(bytes.NewReader(kind), bytes.NewReader(more), r.conn.in), 0)
	m, err := r.conn.params.ReadMessage(in)
	if err != nil {
		return r.readError(err)
	}
	r.conn.opts.trace.message(r.conn.params, m)
	r.conn.fail(&hangUp{m.Err})
	return fmt.Errorf("reading the archive of '%s': %w", r.info.Path, m.Err)
}

// finish ends the archive and releases the connection. The position in the stream is known only
// after a complete archive, so any other end breaks the connection.
func (r *archiveReader) finish(err error) {
	if len(r.untraced) > 0 {
		r.conn.opts.trace.body("←", r.untraced)
	}
	r.err = err
	if err != io.EOF {
		r.conn.fail(err)
	}
	r.unwatchContext()
	close(r.call.archive)
	r.release()
}

// Close implements io.Closer. It returns nil.
func (r *archiveReader) Close() error {
	if r.err != nil {
		return nil
	}
	left := r.info.NARSize - r.stream.consumed
	if r.info.NARSize == 0 || left > drainSize {
		r.finish(ErrAbandoned)
		return nil
	}
	late := time.AfterFunc(r.conn.opts.DrainTimeout, func() { r.conn.fail(errDrainTimeout) })
	defer late.Stop()
	buf := make([]byte, min(left, chunk)+1)
	for r.err == nil {
		r.Read(buf)
	}
	return nil
}

// NARsFromPaths returns an iterator over the archives of objects with known path infos, in
// their order. All requests are sent together, so many small archives take little more than one
// round trip.
//
// The connection is busy until the iteration ends: a call on it in the body of the loop is
// [ErrBusy]. Each archive must be read to its end before the next. It is verified as by
// [Conn.NARFromPath]. If the loop ends before the last archive, or an archive is not read to
// its end, the connection is broken. An error is the last pair. It breaks the connection, too,
// unless it is about the last archive.
func (c *Conn) NARsFromPaths(ctx context.Context, infos []*store.PathInfo) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		if err := c.yieldArchives(ctx, infos, yield); err != nil {
			yield(nil, err)
		}
	}
}

// NARsFromPaths returns an iterator over the archives of objects with known path infos: see
// [Conn.NARsFromPaths]. It uses a connection exclusively.
func (p *Pool) NARsFromPaths(ctx context.Context, infos []*store.PathInfo) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		err := p.withLease(ctx, func(c *Conn) error { return c.yieldArchives(ctx, infos, yield) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// yieldArchives requests archives and yields them one by one until the loop ends. A panic or
// runtime.Goexit may also end the loop, so deferred calls release everything.
func (c *Conn) yieldArchives(ctx context.Context, infos []*store.PathInfo, yield func(io.Reader, error) bool) error {
	calls, err := c.requestArchives(ctx, infos)
	if err != nil || len(calls) == 0 {
		return err
	}
	defer c.releaseExclusive()
	c.markCaller()
	rest := len(calls)
	defer func() {
		if rest > 0 { // the other archives have not been received
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
		archive.hasNext = rest > 0
		if !archive.yieldTo(yield) {
			return nil
		}
	}
	return nil
}

// yieldTo yields an archive and closes it. It reports whether the loop continues. Leaving the
// loop before the last archive breaks the connection, so the rest of this archive is not read.
func (r *archiveReader) yieldTo(yield func(io.Reader, error) bool) (goesOn bool) {
	defer r.conn.endCallback()
	defer func() {
		if r.hasNext && !goesOn {
			r.conn.fail(ErrAbandoned)
		}
		r.Close()
	}()
	return yield(r, nil)
}

// requestArchives acquires the connection and sends all requests at once.
func (c *Conn) requestArchives(ctx context.Context, infos []*store.PathInfo) ([]*call, error) {
	var p []byte
	calls := make([]*call, len(infos))
	for i, info := range infos {
		if info.NARSize == 0 {
			return nil, fmt.Errorf("the size of the archive of '%s' is unknown", info.Path)
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
	if err := c.enqueue(ctx, p, calls...); err != nil {
		c.releaseExclusive()
		return nil, &LostError{protocol.NarFromPath, err}
	}
	return calls, nil
}
