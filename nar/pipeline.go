package nar

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"pix/internal/parallel"
)

// A dump has two halves. One reads files, which mostly waits for the kernel. The other uses
// their bytes, usually by hashing them. A pipeline runs them at the same time: the reading
// half fills chunks, and may be chunksAhead chunks ahead of the other.
//
// While many dumps run, they are probably sent to clients, and a slow client holds its chunks for minutes. So the dumps
// beyond fullDumps have only fewChunks: 64 slow clients then take 43 MB instead of 128 MB.
const (
	chunkSize   = 256 << 10
	chunksAhead = 8
	fullDumps   = 8
	fewChunks   = 2
)

// runningDumps is the number of pipelines that exist.
var runningDumps atomic.Int64

var chunkPool = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// A pipeline is the reading half's end.
type pipeline struct {
	ctx   context.Context
	files bool // the using half takes whole files
	chunk *[chunkSize]byte
	used  int // bytes of chunk that are filled

	full chan fullChunk
	free chan *[chunkSize]byte // nil stands for a chunk that is not allocated yet
}

// A fullChunk is a chunk on its way to the using half.
type fullChunk struct {
	chunk    *[chunkSize]byte
	used     int
	deferred *deferredRead // nil if the chunk is filled
}

// A deferredRead is the reading of a chunk or of a whole file that the reading half left to
// the using half.
type deferredRead struct {
	src       io.ReaderAt
	offset    int64
	size      int64 // size of the file if the whole file will be written; otherwise 0
	pathError func(error) error
	done      *sync.WaitGroup
}

// writeTo writes the chunk to dst, after reading it if the read was deferred.
func (c fullChunk) writeTo(dst io.Writer) error {
	if c.deferred != nil {
		defer c.deferred.done.Done()
		if c.deferred.size > 0 {
			return c.deferred.writeFile(dst.(FileWriter))
		}
		if err := readChunk(c.chunk, c.deferred); err != nil {
			return err
		}
	}
	_, err := dst.Write(c.chunk[:c.used])
	return err
}

func (d *deferredRead) writeFile(dst FileWriter) error {
	n, err := dst.WriteFile(d.src.(File), d.size)
	if err == nil && n < d.size {
		err = d.pathError(ErrFileChanged)
	}
	return err
}

// readChunk fills a chunk from a file that was long enough when it was opened.
func readChunk(chunk *[chunkSize]byte, d *deferredRead) error {
	n, err := d.src.ReadAt(chunk[:], d.offset)
	if n == chunkSize {
		return nil
	}
	if err == io.EOF {
		err = ErrFileChanged
	}
	return d.pathError(err)
}

// runPipeline runs produce in a goroutine of its own and writes the chunks to dst. When it
// returns, that goroutine has ended.
func runPipeline(ctx context.Context, dst io.Writer, produce func(*pipeline) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	_, files := dst.(FileWriter)
	p := &pipeline{ctx: ctx, files: files, full: make(chan fullChunk, chunksAhead), free: make(chan *[chunkSize]byte, chunksAhead)}
	chunks := chunksAhead
	if runningDumps.Add(1) > fullDumps {
		chunks = fewChunks
	}
	defer runningDumps.Add(-1)
	for range chunks {
		p.free <- nil
	}
	var guard parallel.Guard // a filter or a file system of the caller may panic
	var produced error
	go func() {
		defer close(p.full)
		produced = guard.Call(func() error {
			if err := p.reserve(1); err != nil {
				return err
			}
			if err := produce(p); err != nil {
				return err
			}
			return p.send()
		})
	}()
	defer func() { // also if dst panics
		cancel(nil)
		for c := range p.full {
			if c.deferred != nil {
				c.deferred.done.Done()
			}
			chunkPool.Put(c.chunk)
		}
		p.recycle()
	}()
	for c := range p.full {
		err := c.writeTo(dst)
		if err == nil {
			err = context.Cause(ctx)
		}
		p.free <- c.chunk
		if err != nil {
			return err
		}
	}
	guard.Repanic()
	return produced
}

// reserve ensures that n bytes can be appended to the current chunk.
func (p *pipeline) reserve(n int) error {
	if p.chunk != nil && chunkSize-p.used >= n {
		return nil
	}
	if err := p.send(); err != nil {
		return err
	}
	select {
	case p.chunk = <-p.free:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	if p.chunk == nil {
		p.chunk = chunkPool.Get().(*[chunkSize]byte)
	}
	p.used = 0
	return nil
}

// send passes the current chunk on. It never blocks, because the channel has a slot for every
// chunk that exists.
func (p *pipeline) send() error {
	if p.chunk != nil {
		p.full <- fullChunk{chunk: p.chunk, used: p.used}
		p.chunk = nil
	}
	return context.Cause(p.ctx)
}

// file passes a whole file to the using half, which must have a [FileWriter].
func (p *pipeline) file(d *deferredRead) error {
	if err := p.send(); err != nil {
		return err
	}
	if err := p.reserve(1); err != nil {
		return err
	}
	d.done.Add(1)
	p.full <- fullChunk{p.chunk, 0, d}
	p.chunk = nil
	return nil
}

// fill fills a new chunk. If the using half is idle, fill leaves the reading to it, and d.done
// counts the read until it has happened.
func (p *pipeline) fill(d *deferredRead) error {
	if err := p.reserve(chunkSize); err != nil {
		return err
	}
	if len(p.full) > 0 {
		p.used = chunkSize
		return readChunk(p.chunk, d)
	}
	d.done.Add(1)
	p.full <- fullChunk{p.chunk, chunkSize, d}
	p.chunk = nil
	return nil
}

// append calls f to append at most n bytes.
func (p *pipeline) append(n int, f func(dst []byte) []byte) error {
	if err := p.reserve(n); err != nil {
		return err
	}
	p.used = len(f(p.chunk[:p.used]))
	return nil
}

// recycle returns the free chunks to the pool.
func (p *pipeline) recycle() {
	for {
		select {
		case c := <-p.free:
			if c != nil {
				chunkPool.Put(c)
			}
		default:
			return
		}
	}
}
