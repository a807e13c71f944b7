package monitor

import (
	"fmt"
	"sync"
	"time"
)

const (
	maxQueued = 32 << 20  // bytes of one connection that wait for the decoder
	maxMemory = 256 << 20 // bytes of all connections that wait, or that belong to values that are being decoded
	rawStart  = 64        // first bytes of a raw piece that are shown
	urgentAt  = 128 << 10 // bytes that wait, from which on the decoder does not wait for more
	keptSlab  = 256 << 10 // a larger buffer is not kept for the next pieces
)

// A piece is a part of a connection, in the order in which the monitor received the parts.
type piece struct {
	dir  Direction
	kind pieceKind
	at   time.Time
	size int64 // in the stream; for pieceData also in the batch
	held int   // bytes in the batch
	err  error
}

type pieceKind uint8

const (
	pieceData    pieceKind = iota // bytes to decode
	pieceBody                     // bytes of a body, without the headers of frames
	pieceSkipped                  // the end of a body, of so many bytes
	pieceRaw                      // bytes that are not decoded, with the first of them
	pieceEnd                      // a side has closed its stream
)

// pieceSize is about the memory of a piece besides its bytes. A client that sends single bytes must
// not fill the memory with pieces.
const pieceSize = 80

// A batch holds pieces and their bytes, one after the other.
type batch struct {
	pieces []piece
	data   []byte
}

// size returns the memory that a batch has taken from the budget.
func (b batch) size() int { return len(b.data) + len(b.pieces)*pieceSize }

// A tap is the queue between the goroutines that copy and the one that decodes. A push takes a
// lock for the time of a copy of at most one piece, and never waits for the decoder.
type tap struct {
	wake   chan struct{} // has a token if there are pieces
	urgent chan struct{} // has a token if there are many
	memory *budget

	mu     sync.Mutex
	batch  batch
	limit  int
	raw    bool // only sizes and first bytes are collected
	skim   [2]skimmer
	bodies bool // the recorder wants the bytes of bodies
	lost   [2]bool
	total  [2]int64

	discarded bool // there is no decoder any more
}

func newTap(memory *budget, limit int, bodies bool) *tap {
	return &tap{wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), memory: memory, limit: limit, bodies: bodies}
}

// push adds bytes of a direction.
func (t *tap) push(dir Direction, b []byte) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total[dir] += int64(len(b))
	if t.discarded {
		return
	}
	if t.skim[dir] != nil && !t.raw {
		b = b[t.skimBytes(dir, b, now):]
	}
	if len(b) == 0 {
		return
	}
	if !t.raw && t.fits(len(b)) {
		t.add(piece{dir: dir, at: now, size: int64(len(b)), held: len(b)}, b)
		return
	}
	t.raw = true // otherwise the decoder cannot follow
	t.addRaw(dir, b, now)
}

// fits reports whether the queue has room for a piece of n bytes, and reserves the memory for it.
func (t *tap) fits(n int) bool {
	n += pieceSize
	return t.batch.size()+n <= t.limit && t.memory.acquire(n)
}

// add appends a piece, and wakes the decoder if it was the first.
func (t *tap) add(p piece, b []byte) {
	before := len(t.batch.data)
	t.batch.pieces = append(t.batch.pieces, p)
	t.batch.data = append(t.batch.data, b...)
	if len(t.batch.pieces) == 1 {
		wake(t.wake)
	}
	if before < urgentAt && len(t.batch.data) >= urgentAt || p.kind == pieceEnd {
		wake(t.urgent)
	}
}

// wake puts a token into a channel, unless it has one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// addRaw adds the size and the first bytes. Pieces that were not taken yet are merged, so that a
// flood of them needs no memory.
func (t *tap) addRaw(dir Direction, b []byte, now time.Time) {
	if n := len(t.batch.pieces); n > 0 && t.batch.pieces[n-1].kind == pieceRaw && t.batch.pieces[n-1].dir == dir {
		t.batch.pieces[n-1].size += int64(len(b))
		return
	}
	held := min(len(b), rawStart)
	if len(t.batch.pieces) >= maxRawPieces || !t.memory.acquire(held+pieceSize) {
		return // only counted
	}
	t.add(piece{dir: dir, kind: pieceRaw, at: now, size: int64(len(b)), held: held}, b[:held])
}

// maxRawPieces limits the pieces of a connection that wait while it is raw.
const maxRawPieces = 1 << 14

// skimBytes passes bytes to the skimmer of a direction and returns how many belong to the body.
func (t *tap) skimBytes(dir Direction, b []byte, now time.Time) int {
	s := t.skim[dir]
	n, done, err := consumeSafely(s, b, func(body []byte) { t.addBody(dir, body, now) })
	if done || err != nil {
		t.skim[dir] = nil
		t.addMark(piece{dir: dir, kind: pieceSkipped, at: now, err: err})
	}
	return n
}

// consumeSafely is s.consume, but returns a panic as an error. It runs in a copying goroutine, whose
// end would end the connection.
func consumeSafely(s skimmer, b []byte, contents func([]byte)) (n int, done bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.consume(b, contents)
}

// addMark adds a piece without bytes, even if the queue is full. A connection has few of them.
func (t *tap) addMark(p piece) {
	t.memory.reserve(pieceSize)
	t.add(p, nil)
}

// addBody adds bytes of a body for the recorder. If there is no room, the recorder learns that
// the body is incomplete; the decoder needs only its end.
func (t *tap) addBody(dir Direction, b []byte, now time.Time) {
	switch {
	case !t.bodies || t.lost[dir]:
	case t.fits(len(b)):
		t.add(piece{dir: dir, kind: pieceBody, at: now, held: len(b)}, b)
	default:
		t.lost[dir] = true
	}
}

// end adds the end of a direction.
func (t *tap) end(dir Direction, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.discarded {
		t.addMark(piece{dir: dir, kind: pieceEnd, at: time.Now(), err: err})
	}
}

// discard makes the tap only count bytes from now on, because the decoder has ended.
func (t *tap) discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.memory.release(t.batch.size())
	t.batch, t.skim, t.discarded = batch{}, [2]skimmer{}, true
}

// swap returns the pieces that wait, and gives the tap an empty batch to fill. It gives the
// memory of the empty one back.
func (t *tap) swap(empty batch) batch {
	t.memory.release(empty.size())
	if cap(empty.data) > keptSlab {
		empty.data = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	full := t.batch
	t.batch = batch{empty.pieces[:0], empty.data[:0]}
	return full
}

// install makes the copying goroutine skim a direction, unless pieces of it wait. From then on
// only that goroutine uses the skimmer, until the piece that ends it.
func (t *tap) install(dir Direction, s skimmer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.batch.pieces {
		if p.dir == dir {
			return false
		}
	}
	t.skim[dir], t.lost[dir] = s, false
	return true
}

// stop makes the tap collect no more than sizes and first bytes.
func (t *tap) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.raw, t.skim = true, [2]skimmer{}
}
