package activity

import (
	"io"
	"sync/atomic"
)

// ownIDs are the numbers of activities of this process. Those of a daemon begin with its
// process id, shifted by 32 bits, and so do not get that high.
const ownIDs = 1 << 63

var lastID atomic.Uint64

// NewID returns a number for an activity of this process. No other has it, nor has one
// that a daemon has made up.
func NewID() ID { return ID(ownIDs + lastID.Add(1)) }

// progressEvery is how many bytes are read between two results.
const progressEvery = 64 << 10

// ProgressReader returns a reader of what r has that tells h how much of it was read: it
// is the [Progress] of the activity with that number, in bytes, of whole, which is 0 if that
// is not known. It tells so on the goroutine that reads, every 64 KiB and at the end.
func ProgressReader(h Handler, id ID, r io.Reader, whole uint64) io.Reader {
	return &progressReader{h: h, id: id, r: r, whole: whole}
}

type progressReader struct {
	h                 Handler
	id                ID
	r                 io.Reader
	done, told, whole uint64
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += uint64(n)
	if p.done-p.told >= progressEvery || p.done > p.told && (err != nil || p.done == p.whole) {
		p.told = p.done
		p.h.HandleEvent(Result{ID: p.id, Type: Progress, Fields: []Field{Number(p.done), Number(p.whole), Number(0), Number(0)}})
	}
	return n, err
}
