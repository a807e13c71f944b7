package activity

import (
	"io"
	"sync/atomic"
)

// firstOwnID is the lower limit of the IDs of this process. A daemon's IDs start with its
// process ID, shifted by 32 bits, and stay below this limit.
const firstOwnID = 1 << 63

var lastID atomic.Uint64

// NewID returns a new ID for an activity of this process. It differs from the IDs that
// daemons allocate.
func NewID() ID { return ID(firstOwnID + lastID.Add(1)) }

// progressEvery is the number of bytes between two progress events.
const progressEvery = 64 << 10

// ProgressReader returns a reader of r that reports to h how many bytes were read. The
// events are [Progress] results of the activity id, with the number of bytes read and the
// total, which is 0 if unknown. Read calls h every 64 KiB and at the end.
func ProgressReader(h Handler, id ID, r io.Reader, total uint64) io.Reader {
	return &progressReader{h: h, id: id, r: r, total: total}
}

type progressReader struct {
	h                     Handler
	id                    ID
	r                     io.Reader
	done, reported, total uint64
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += uint64(n)
	if p.done-p.reported >= progressEvery || p.done > p.reported && (err != nil || p.done == p.total) {
		p.reported = p.done
		p.h.HandleEvent(Result{ID: p.id, Type: Progress, Fields: []Field{Number(p.done), Number(p.total), Number(0), Number(0)}})
	}
	return n, err
}
