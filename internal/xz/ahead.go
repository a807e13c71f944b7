package xz

import (
	"bytes"
	"io"

	"pix/internal/parallel"
)

// The blocks of a stream do not depend on each other. Parallel encoders write their sizes into the
// headers. Then several blocks are read and decoded at once. A goroutine decodes a block in memory, so it ends even if the contents
// are never read, and a Reader needs no Close.

const (
	maxAheadBlock = 32 << 20  // bytes of a block that is decoded ahead
	maxAhead      = 128 << 20 // bytes of all blocks that are decoded ahead: chunks, contents and windows
)

// ahead has the blocks that are decoded ahead, in their order.
type ahead struct {
	jobs []*job
	size uint64
	idle []*job // to use their memory again
}

// A job decodes a block in memory.
type job struct {
	owner  *ahead
	block  block
	cost   uint64
	chunks bytes.Buffer  // the block after its header
	done   chan struct{} // closed after the last use of the fields below on the goroutine
	guard  parallel.Guard

	contents bytes.Buffer
	err      error // at the end of the contents
}

// cost returns the memory that it takes to decode a block ahead, or 0 if that is not possible.
func (r *Reader) cost(h *blockHeader) uint64 {
	if r.options.Goroutines <= 1 || h.compressed == 0 || !h.hasSize || h.size >= r.options.Size {
		return 0
	}
	if h.compressed > maxAheadBlock || h.size > maxAheadBlock {
		return 0
	}
	return h.compressed + h.size + r.reach(h)
}

// readAhead reads blocks and begins to decode them.
func (r *Reader) readAhead() {
	a := &r.ahead
	for len(a.jobs) < r.options.Goroutines {
		next := r.peek()
		if next.err != nil || next.block == nil {
			return
		}
		cost := r.cost(next.block)
		if cost == 0 || a.size+cost > maxAhead && len(a.jobs) > 0 {
			return
		}
		j := a.take()
		j.cost = cost
		length := int64(next.block.compressed+3)&^3 + int64(checkSize(r.checkID))
		if _, err := io.CopyN(&j.chunks, r.src, length); err != nil { // the buffer grows with the bytes that arrive
			next.err = unexpected(err)
			return
		}
		j.block.reset(next.block, r.checkID, &j.chunks, r.reach(next.block))
		r.next = part{}
		a.jobs = append(a.jobs, j)
		a.size += cost
		go j.run()
	}
}

// take returns a job that is not in use.
func (a *ahead) take() *job {
	j := &job{owner: a}
	if n := len(a.idle); n > 0 {
		j = a.idle[n-1]
		a.idle = a.idle[:n-1]
	}
	j.done, j.err = make(chan struct{}), nil
	j.chunks.Reset()
	j.contents.Reset()
	return j
}

// pop removes the first block, and waits until it is decoded. It returns nil if there is none.
func (a *ahead) pop() decodedBlock {
	if len(a.jobs) == 0 {
		return nil
	}
	j := a.jobs[0]
	a.jobs = a.jobs[1:]
	<-j.done
	j.guard.Repanic()
	return j
}

// run decodes the block.
func (j *job) run() {
	defer close(j.done)
	const ratio = 16 // the contents of most blocks are smaller
	j.err = j.guard.Call(func() error {
		j.contents.Grow(int(min(j.block.header.size, ratio*j.block.header.compressed)) + bytes.MinRead)
		_, err := j.contents.ReadFrom(&j.block)
		return err
	})
}

// Read implements io.Reader.
func (j *job) Read(p []byte) (int, error) {
	if j.contents.Len() == 0 && j.err != nil {
		return 0, j.err
	}
	return j.contents.Read(p)
}

// record implements decodedBlock. It is called once, after io.EOF, and gives the job back.
func (j *job) record() record {
	one := j.block.record()
	j.owner.size -= j.cost
	j.owner.idle = append(j.owner.idle, j)
	return one
}
