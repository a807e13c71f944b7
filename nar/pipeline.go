package nar

import (
	"context"
	"io"
	"sync"

	"pix/internal/parallel"
)

// A dump has two halves: reading files, which waits for the kernel, and using their
// bytes, which is hashing more often than not. A pipeline lets them run at the same
// time. The reading half fills chunks, at most chunksAhead of them before the other
// half has used the first.
const (
	chunkSize   = 256 << 10
	chunksAhead = 8
)

var chunkPool = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// A pipeline is the reading half's end.
type pipeline struct {
	ctx   context.Context
	files bool // the using half takes whole files
	chunk *[chunkSize]byte
	used  int // bytes of chunk that are filled

	full chan filled
	free chan *[chunkSize]byte // nil stands for one that is not made yet
}

type filled struct {
	chunk *[chunkSize]byte
	used  int
	late  *lateRead // if the chunk is still to be read
}

// A lateRead is the reading of a whole chunk, or of a whole file, by the using half.
type lateRead struct {
	src    io.ReaderAt
	offset int64
	size   int64 // of the whole file, if that is meant; else 0
	failed func(error) error
	done   *sync.WaitGroup
}

// writeTo writes the chunk, and reads it before, if that was left to the using half.
func (c filled) writeTo(dst io.Writer) error {
	if c.late != nil {
		defer c.late.done.Done()
		if c.late.size > 0 {
			return c.late.writeFile(dst.(FileWriter))
		}
		if err := readWhole(c.chunk, c.late.src, c.late.offset, c.late.failed); err != nil {
			return err
		}
	}
	_, err := dst.Write(c.chunk[:c.used])
	return err
}

func (l *lateRead) writeFile(dst FileWriter) error {
	n, err := dst.WriteFile(l.src.(File), l.size)
	if err == nil && n < l.size {
		err = l.failed(ErrFileChanged)
	}
	return err
}

// readWhole fills a chunk from a file that is known to be long enough.
func readWhole(chunk *[chunkSize]byte, src io.ReaderAt, offset int64, failed func(error) error) error {
	n, err := src.ReadAt(chunk[:], offset)
	if n == chunkSize {
		return nil
	}
	if err == io.EOF {
		err = ErrFileChanged
	}
	return failed(err)
}

// pump runs produce in a goroutine of its own and writes to dst what it puts into
// the pipeline. When pump returns, for whatever reason, that goroutine has ended.
func pump(ctx context.Context, dst io.Writer, produce func(*pipeline) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	_, files := dst.(FileWriter)
	p := &pipeline{ctx: ctx, files: files, full: make(chan filled, chunksAhead), free: make(chan *[chunkSize]byte, chunksAhead)}
	for range chunksAhead {
		p.free <- nil
	}
	var guard parallel.Guard // a filter or a file system of the caller may panic
	var produced error
	go func() {
		defer close(p.full)
		produced = guard.Call(func() error {
			if err := p.room(1); err != nil {
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
			if c.late != nil {
				c.late.done.Done()
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

// room makes sure that n bytes can be appended.
func (p *pipeline) room(n int) error {
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

// send hands the current chunk over. There is always room for it: no more chunks
// than that exist.
func (p *pipeline) send() error {
	if p.chunk != nil {
		p.full <- filled{chunk: p.chunk, used: p.used}
		p.chunk = nil
	}
	return context.Cause(p.ctx)
}

// file leaves a whole file to the using half, which must have a [FileWriter].
func (p *pipeline) file(late *lateRead) error {
	if err := p.send(); err != nil {
		return err
	}
	if err := p.room(1); err != nil {
		return err
	}
	late.done.Add(1)
	p.full <- filled{p.chunk, 0, late}
	p.chunk = nil
	return nil
}

// fill fills a chunk of its own from src, or leaves that to the using half if that
// has nothing else to do. In that case late.done is told when it has happened.
func (p *pipeline) fill(late *lateRead) error {
	if err := p.room(chunkSize); err != nil {
		return err
	}
	if len(p.full) > 0 {
		p.used = chunkSize
		return readWhole(p.chunk, late.src, late.offset, late.failed)
	}
	late.done.Add(1)
	p.full <- filled{p.chunk, chunkSize, late}
	p.chunk = nil
	return nil
}

// append lets f append at most n bytes.
func (p *pipeline) append(n int, f func(dst []byte) []byte) error {
	if err := p.room(n); err != nil {
		return err
	}
	p.used = len(f(p.chunk[:p.used]))
	return nil
}

// recycle gives the chunks back that nobody uses any more.
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
