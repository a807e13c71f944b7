package nar

import (
	"fmt"
	"io"

	"pix/nixbase32"
)

// A Rewriter replaces hash parts in the bytes written to it by others of the same length, and
// passes the result on. Nix uses this to move an object whose path is only known when its
// contents are: the object is created under a provisional path, and then each mention of the
// provisional path is replaced.
//
// A Rewriter holds the last bytes back until [Rewriter.Close].
type Rewriter struct {
	dst      io.Writer
	rewrites map[[hashLen]byte]string
	hints    hintSet
	buf      []byte
	done     int                 // buf[:done] must not be rewritten again
	passed   uint64              // bytes that were written to dst
	onMatch  func(offset uint64) // called for each replacement, in order; may be nil
	err      error
}

// rewriteBuffer is the number of bytes that a Rewriter processes at a time.
const rewriteBuffer = 64 << 10

// NewRewriter returns a Rewriter that writes to dst and replaces each key of rewrites by its
// value. Keys must be hash parts of store paths. Values must also have 32 bytes.
func NewRewriter(dst io.Writer, rewrites map[string]string) (*Rewriter, error) {
	r := &Rewriter{dst: dst, rewrites: make(map[[hashLen]byte]string, len(rewrites))}
	for from, to := range rewrites {
		if len(from) != hashLen || !nixbase32.IsDigits(from) {
			return nil, fmt.Errorf("cannot rewrite %q: it is not the hash part of a store path", shorten(from))
		}
		if len(to) != hashLen {
			return nil, fmt.Errorf("cannot rewrite %s to %d bytes: the length must be %d", from, len(to), hashLen)
		}
		r.rewrites[[hashLen]byte([]byte(from))] = to
		r.hints.add(from)
	}
	return r, nil
}

// Write implements io.Writer. After an error of dst, all later calls return it again.
func (r *Rewriter) Write(p []byte) (int, error) {
	written := 0
	for r.err == nil && written < len(p) {
		piece := p[written:min(len(p), written+rewriteBuffer)]
		r.buf = append(r.buf, piece...)
		r.rewrite()
		if r.flush(len(r.buf) - max(r.done, len(r.buf)-(hashLen-1))); r.err == nil {
			written += len(piece)
		}
	}
	return written, r.err
}

// Close writes the bytes that were held back. It does not close dst.
func (r *Rewriter) Close() error {
	r.flush(0)
	return r.err
}

func (r *Rewriter) rewrite() {
	eachWindow(r.buf, func(at int) {
		window := r.buf[at : at+hashLen]
		if at < r.done || !r.hints.mayContain(window) {
			return
		}
		if to, ok := r.rewrites[[hashLen]byte(window)]; ok {
			copy(window, to)
			r.done = at + hashLen
			if r.onMatch != nil {
				r.onMatch(r.passed + uint64(at))
			}
		}
	})
}

// flush writes the buffer to dst except the last keep bytes.
func (r *Rewriter) flush(keep int) {
	n := len(r.buf) - keep
	if r.err != nil || n == 0 {
		return
	}
	if _, err := r.dst.Write(r.buf[:n]); err != nil {
		r.err = err
		return
	}
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	r.done = max(0, r.done-n)
	r.passed += uint64(n)
}
