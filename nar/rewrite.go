package nar

import (
	"fmt"
	"io"
	"strings"

	"pix/nixbase32"
)

// A Rewriter replaces hash parts by others in what is written to it and passes it on,
// at the same length. So Nix moves an object whose path is known only when its
// contents are: they are made under a provisional path, and then each mention of that
// is replaced.
//
// It holds back the last bytes, until [Rewriter.Close].
type Rewriter struct {
	dst      io.Writer
	rewrites map[[hashLen]byte]string
	hints    hintSet
	buf      []byte
	done     int                 // bytes of buf that are the outcome of a rewrite, and no longer looked at
	passed   uint64              // bytes that were passed on
	onMatch  func(offset uint64) // called for each replacement, in order; nil is allowed
	err      error
}

// rewriteBuffer is how many bytes a Rewriter works on at a time.
const rewriteBuffer = 64 << 10

// NewRewriter returns a Rewriter to dst that replaces each key of rewrites by its
// value. Keys must be hash parts of store paths, and values 32 bytes long, too.
func NewRewriter(dst io.Writer, rewrites map[string]string) (*Rewriter, error) {
	r := &Rewriter{dst: dst, rewrites: make(map[[hashLen]byte]string, len(rewrites))}
	for from, to := range rewrites {
		if len(from) != hashLen || strings.ContainsFunc(from, func(c rune) bool { return c > 0x7f || !nixbase32.IsDigit(byte(c)) }) {
			return nil, fmt.Errorf("%q cannot be rewritten: it is no hash part of a store path", shorten(from))
		}
		if len(to) != hashLen {
			return nil, fmt.Errorf("%s cannot be rewritten to %d bytes, it must remain %d", from, len(to), hashLen)
		}
		r.rewrites[[hashLen]byte([]byte(from))] = to
		r.hints.add(from)
	}
	return r, nil
}

// Write implements io.Writer. An error of the writer beneath lasts.
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

// Close writes what was held back. It does not close what is written to.
func (r *Rewriter) Close() error {
	r.flush(0)
	return r.err
}

func (r *Rewriter) rewrite() {
	eachWindow(r.buf, func(at int) {
		window := r.buf[at : at+hashLen]
		if at < r.done || !r.hints.mayHave(window) {
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

// flush passes all on but for the last bytes.
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
