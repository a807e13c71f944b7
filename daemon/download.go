package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// ErrAbandoned is why a connection is broken on which an archive was not read to its end.
var ErrAbandoned = errors.New("an archive was closed long before its end")

// drainSize is how many bytes of an archive are read for nothing when it is closed early.
// For more than that it is cheaper to connect again.
const drainSize = 1 << 20

// A CorruptError says that an archive is not the one that the daemon had promised.
type CorruptError struct {
	Path      storepath.Path
	Want, Got nixhash.Hash
	WantSize  uint64 // in bytes; 0 if it is not known
	GotSize   uint64
}

func (e *CorruptError) Error() string {
	if e.WantSize != 0 && e.WantSize != e.GotSize {
		return fmt.Sprintf("the archive of '%s' has %d bytes instead of %d", e.Path, e.GotSize, e.WantSize)
	}
	return fmt.Sprintf("the archive of '%s' has the hash %s instead of %s", e.Path, e.Got.WithNix32(), e.Want.WithNix32())
}

// NARFromPath returns the archive of an object. The error is a [*store.NotFoundError] if the
// path is not valid.
//
// The connection is busy until the archive was read to its end or closed: other calls wait
// till then. Reading obeys ctx, too. Before io.EOF comes a [*CorruptError] if the archive is
// not the one that the daemon had promised, and the daemon's own [*activity.Error] if it
// failed in its midst. Closed early, the rest is read if it is at most a megabyte; else the
// connection is broken, and [Conn.Err] is [ErrAbandoned].
func (c *Conn) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := c.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := c.openArchive(ctx, info, nil)
	if err != nil {
		return nil, err // and not a nil *archiveReader, which is no nil io.ReadCloser
	}
	return r, nil
}

// openArchive asks for the archive of an object. What is to be done when the connection is
// free again is done by release, which may be nil, unless there is an error.
func (c *Conn) openArchive(ctx context.Context, info *store.PathInfo, release func()) (r *archiveReader, err error) {
	k, err := c.send(ctx, &protocol.NarFromPathRequest{Path: info.Path}, new(protocol.None), true)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r == nil { // also after a panic in a handler
			c.leaveAlone()
		}
	}()
	if err := c.await(ctx, k, nil); err != nil {
		return nil, err
	}
	c.callers.clear() // from now on the caller reads, on any goroutine
	return c.newArchive(ctx, k, info, func() {
		c.endCallback()
		c.leaveAlone()
		if release != nil {
			release()
		}
	}), nil
}

// newArchive returns the archive that follows the answer to a call. At its end it calls release.
// From now on the connection waits for the caller, until enter is called.
func (c *Conn) newArchive(ctx context.Context, k *call, info *store.PathInfo, release func()) *archiveReader {
	r := &archiveReader{
		ctx: ctx, conn: c, call: k, info: info, release: release,
		stream: narStream{size: info.NARSize},
		hasher: nar.NewHasher(nixhash.SHA256),
	}
	r.stop = context.AfterFunc(ctx, func() { c.fail(cancelled(ctx, k.op)) })
	c.beginCallback()
	return r
}

// An archiveReader reads an archive from the connection that is lent to it.
type archiveReader struct {
	ctx     context.Context
	conn    *Conn
	call    *call
	info    *store.PathInfo
	release func()
	stop    func() bool // watching ctx

	// followed says that what comes after the archive, whose size is known, is the answer to
	// another call.
	followed bool

	stream narStream
	hasher *nar.Hasher
	err    error // with which the archive has ended

	untraced []byte // the beginning of a length, which a trace does not show yet
}

// Read implements io.Reader.
func (r *archiveReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.followed {
		left := r.info.NARSize - r.stream.read
		if left == 0 {
			r.end(r.corrupt())
			return 0, r.err
		}
		p = p[:min(uint64(len(p)), left)]
	}
	n, err := r.receive(p)
	if err != nil {
		r.end(r.readError(err))
		return 0, r.err
	}
	mine, err := r.stream.take(p[:n])
	r.hasher.Write(p[:mine])
	r.trace(p[:mine], err == errInArchive)
	switch {
	case err == nil && r.info.NARSize > 0 && r.stream.read > r.info.NARSize:
		r.end(r.corrupt())
	case err == nil:
	case err == errInArchive:
		r.end(r.said(p[mine:n]))
		return max(0, mine-wire.WordSize), nil // the kind of the message is no part of the archive
	case err != errArchiveEnds:
		r.end(&LostError{r.call.op, err})
	case mine < n:
		r.end(&LostError{r.call.op, &protocol.Error{What: "after the archive", Offset: r.conn.in.Offset(), Err: errUnasked}})
	default:
		r.end(r.verify())
	}
	return mine, nil
}

// receive reads from the connection. Meanwhile the connection does not wait for the caller.
func (r *archiveReader) receive(p []byte) (int, error) {
	r.conn.endCallback()
	defer r.conn.beginCallback()
	return r.conn.in.Read(p)
}

// trace shows a piece of the archive. What stands for a length shows itself to be the kind of a
// message, which is no part of the archive, only when it is whole.
func (r *archiveReader) trace(p []byte, endsWithKind bool) {
	if r.conn.opts.trace == nil {
		return
	}
	p = append(r.untraced, p...)
	shown := len(p) - r.stream.have
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

// readError says why nothing more came.
func (r *archiveReader) readError(err error) error {
	if r.ctx.Err() != nil {
		return cancelled(r.ctx, r.call.op)
	}
	if why := r.conn.Err(); why != nil {
		return &LostError{r.call.op, why}
	}
	return &LostError{r.call.op, r.conn.explain(atEnd(err))}
}

// verify compares an archive that was read with what was promised.
func (r *archiveReader) verify() error {
	if size := r.info.NARSize; size != 0 && size != r.hasher.Size() || r.info.NARHash != r.hasher.Hash() {
		return r.corrupt()
	}
	return io.EOF
}

func (r *archiveReader) corrupt() error {
	return &CorruptError{r.info.Path, r.info.NARHash, r.hasher.Hash(), r.info.NARSize, r.hasher.Size()}
}

// said reads the error message that stands in the archive. Its kind was read already, and
// what follows in more.
func (r *archiveReader) said(more []byte) error {
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

// end ends the archive, and gives the connection back. Only after a whole archive is it
// known what comes next in the stream.
func (r *archiveReader) end(err error) {
	if len(r.untraced) > 0 {
		r.conn.opts.trace.body("←", r.untraced)
	}
	r.err = err
	if err != io.EOF {
		r.conn.fail(err)
	}
	r.stop()
	close(r.call.archive)
	r.release()
}

// Close implements io.Closer. It returns nil.
func (r *archiveReader) Close() error {
	if r.err != nil {
		return nil
	}
	left := r.info.NARSize - r.stream.read
	if r.info.NARSize == 0 || left > drainSize {
		r.end(ErrAbandoned)
		return nil
	}
	late := time.AfterFunc(r.conn.opts.DrainTimeout, func() { r.conn.fail(errLate) })
	defer late.Stop()
	buf := make([]byte, min(left, chunk)+1)
	for r.err == nil {
		r.Read(buf)
	}
	return nil
}
