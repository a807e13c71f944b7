package xz

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"runtime"
)

// Options are the limits of a Reader.
type Options struct {
	// MaxWindow is the largest window that a stream may ask for, in bytes. A window takes as much memory. 0 is
	// 128 MiB.
	MaxWindow uint64
	// Size is the number of bytes that the contents should have at most. The reader allocates no larger window, even
	// if the stream asks for it. A match at a larger distance is an error, but longer contents are not. 0 is unknown.
	Size uint64
	// Goroutines is the number of blocks that are decoded at once. 0 is GOMAXPROCS.
	Goroutines int
}

// A Reader decodes a sequence of xz streams. It need not be closed. An error of the source is returned unchanged, but
// io.ErrUnexpectedEOF if the source ends within a stream.
type Reader struct {
	src     *bufio.Reader
	options Options
	checkID byte
	records *records
	current decodedBlock // nil between two blocks
	serial  block
	err     error

	next  part // read from src, and not yet begun
	ahead ahead
}

// A decodedBlock returns the contents of a block.
type decodedBlock interface {
	io.Reader
	record() record // valid after io.EOF
}

// A part is what follows the blocks that have been read: a block, or the index, or an error.
type part struct {
	known bool
	block *blockHeader // nil for the index
	err   error
}

// NewReader returns a Reader of src. It reads the header of the first stream. It reads src ahead, and to its end.
func NewReader(src io.Reader, o Options) (*Reader, error) {
	if o.MaxWindow == 0 {
		o.MaxWindow = 128 << 20
	}
	if o.Size == 0 {
		o.Size = math.MaxUint64
	}
	if o.Goroutines == 0 {
		o.Goroutines = runtime.GOMAXPROCS(0)
	}
	r := &Reader{src: bufio.NewReaderSize(src, 64<<10), options: o}
	if err := r.begin(); err != nil {
		return nil, unexpected(err)
	}
	return r, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, r.err
	}
	for r.err == nil {
		if r.current == nil {
			r.err = r.advance()
			continue
		}
		n, err := r.current.Read(p)
		switch {
		case err == io.EOF:
			r.records.add(r.current.record())
			r.current = nil
		default:
			r.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// begin reads the header of a stream. The error is io.EOF if there is none.
func (r *Reader) begin() error {
	if _, err := r.src.Peek(1); err != nil {
		return err
	}
	var b [headerSize]byte
	if _, err := io.ReadFull(r.src, b[:]); err != nil {
		return unexpected(err)
	}
	var err error
	r.checkID, err = parseStreamHeader(b[:])
	r.records = newRecords()
	return err
}

// advance begins the next block, or the next stream.
func (r *Reader) advance() error {
	r.readAhead()
	if r.current = r.ahead.pop(); r.current != nil {
		return nil
	}
	next := *r.peek()
	r.next = part{}
	switch {
	case next.err != nil:
		return next.err
	case next.block == nil:
		return r.endStream()
	}
	r.serial.reset(next.block, r.checkID, r.src, r.reach(next.block))
	r.current = &r.serial
	return nil
}

// peek reads the header of the next part of the stream, if it has not been read.
func (r *Reader) peek() *part {
	if r.next.known {
		return &r.next
	}
	r.next = part{known: true}
	b, err := r.src.Peek(1)
	switch {
	case err != nil:
		r.next.err = unexpected(err)
	case b[0] != 0:
		r.next.block, r.next.err = readBlockHeader(r.src)
		if h := r.next.block; r.next.err == nil && r.reach(h) > r.options.MaxWindow {
			r.next.err = fmt.Errorf("xz: decoding takes %d MiB, more than %d", h.window>>20, r.options.MaxWindow>>20)
		}
	}
	return &r.next
}

// reach returns the largest distance of a match in a block.
func (r *Reader) reach(h *blockHeader) uint64 {
	reach := min(h.window, r.options.Size)
	if h.hasSize {
		reach = min(reach, h.size)
	}
	return reach
}

// endStream reads the index and the footer, and begins the next stream.
func (r *Reader) endStream() error {
	size, err := checkIndex(r.src, r.records)
	if err != nil {
		return err
	}
	var b [headerSize]byte
	if _, err := io.ReadFull(r.src, b[:]); err != nil {
		return unexpected(err)
	}
	if err := checkFooter(b[:], r.checkID, size); err != nil {
		return err
	}
	if err := r.skipPadding(); err != nil {
		return err
	}
	return r.begin()
}

// skipPadding skips zeros between two streams. There are a multiple of 4.
func (r *Reader) skipPadding() error {
	for {
		b, err := r.src.Peek(4)
		if err == io.EOF && len(b) > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil || string(b) != "\x00\x00\x00\x00" {
			return err
		}
		if _, err := r.src.Discard(len(b)); err != nil {
			return err
		}
	}
}
