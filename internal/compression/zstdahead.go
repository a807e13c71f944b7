package compression

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"pix/internal/parallel"
)

const (
	maxAheadFrame = 32 << 20  // bytes of the contents of a frame that is decoded ahead
	maxAhead      = 128 << 20 // bytes of all frames that are decoded ahead, and of their contents
)

// A zstdReader decodes several frames at once, if they have the sizes of their contents and are not large. At the first other
// frame it changes to a decoder that needs less memory. A goroutine decodes a frame in memory, so it ends even if the contents are
// never read.
type zstdReader struct {
	src     *bufio.Reader
	decoder *zstd.Decoder // of single frames
	left    uint64        // bytes of the expected contents, without the frames that have been read
	jobs    []*unframeJob
	memory  uint64 // of jobs and current
	current *unframeJob
	rest    io.Reader // decodes what follows the jobs, if not nil
	err     error     // what follows the jobs, if not nil
}

// An unframeJob decodes a frame.
type unframeJob struct {
	frame    bytes.Buffer
	buffer   []byte // of contents
	contents []byte
	err      error
	memory   uint64
	done     chan struct{}
	guard    parallel.Guard // moves a panic to the goroutine of the reader
}

var idleUnframeJobs sync.Pool // of *unframeJob

func newZstdReader(src io.Reader, size uint64) (*zstdReader, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(cap(frameSlots)), zstd.WithDecoderMaxWindow(MaxWindow),
		zstd.WithDecoderMaxMemory(maxAheadFrame))
	return &zstdReader{src: bufio.NewReaderSize(src, guardBuffer), decoder: d, left: size}, err
}

// Read implements io.Reader.
func (r *zstdReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if j := r.current; j != nil {
			if len(j.contents) > 0 {
				n := copy(p, j.contents)
				j.contents = j.contents[n:]
				return n, nil
			}
			if j.err != nil {
				return 0, j.err
			}
			r.memory -= j.memory
			r.current = nil
			idleUnframeJobs.Put(j)
		}
		r.readAhead()
		if len(r.jobs) > 0 {
			r.current = r.jobs[0]
			r.jobs = r.jobs[1:]
			<-r.current.done
			r.current.guard.Repanic()
			continue
		}
		if r.rest != nil {
			return r.rest.Read(p)
		}
		return 0, r.err
	}
}

// readAhead reads frames and begins to decode them.
func (r *zstdReader) readAhead() {
	for r.rest == nil && r.err == nil && len(r.jobs) < cap(frameSlots) {
		if _, err := r.src.Peek(1); err != nil {
			r.err = err
			return
		}
		header, _ := r.src.Peek(maxFrameHeader) // fewer bytes are no header, or an error
		size, checked, ok := frameContents(header)
		if !ok || size > min(r.left, maxAheadFrame) {
			r.rest, r.err = lowMemoryZstd(r.src, r.left)
			return
		}
		if r.memory+2*size > maxAhead && len(r.jobs) > 0 {
			return
		}
		j, ok := idleUnframeJobs.Get().(*unframeJob)
		if !ok {
			j = new(unframeJob)
		}
		j.frame.Reset()
		whole, err := readFrame(&j.frame, r.src, size, checked)
		switch {
		case err != nil:
			r.err = zstdUnexpected(err)
			return
		case !whole:
			r.rest, r.err = lowMemoryZstd(io.MultiReader(&j.frame, r.src), r.left)
			return
		}
		r.left -= size
		j.memory = size + uint64(j.frame.Len())
		r.memory += j.memory
		j.err, j.done = nil, make(chan struct{})
		r.jobs = append(r.jobs, j)
		go j.run(r.decoder)
	}
}

// run decodes the frame.
func (j *unframeJob) run(d *zstd.Decoder) {
	defer close(j.done)
	j.guard.Call(func() error {
		j.buffer, j.err = d.DecodeAll(j.frame.Bytes(), j.buffer[:0])
		j.contents = j.buffer
		return nil
	})
}

// maxFrameHeader is the length of the longest header of a frame, with the magic number.
const maxFrameHeader = 18

// frameContents parses the header at the beginning of b. It returns the size of the contents, and whether a
// checksum follows the blocks. ok is false if b does not begin with a frame that has a size.
func frameContents(b []byte) (size uint64, checked, ok bool) {
	const magic, singleSegment, hasCheck, dictionary = "\x28\xb5\x2f\xfd", 0x20, 0x04, 0x03
	if len(b) < maxFrameHeader || string(b[:4]) != magic || b[4]&dictionary != 0 {
		return 0, false, false
	}
	flags, field := b[4], b[5:]
	if flags&singleSegment == 0 {
		field = field[1:] // the window
	}
	switch {
	case flags>>6 == 1:
		size = uint64(binary.LittleEndian.Uint16(field)) + 256
	case flags>>6 == 2:
		size = uint64(binary.LittleEndian.Uint32(field))
	case flags>>6 == 3:
		size = binary.LittleEndian.Uint64(field)
	case flags&singleSegment != 0:
		size = uint64(field[0])
	default:
		return 0, false, false
	}
	return size, flags&hasCheck != 0, true
}

// frameHeaderLength returns the length of a header with these flags, which has no dictionary.
func frameHeaderLength(flags byte) int64 {
	const singleSegment = 0x20
	length := int64(5 + [4]int{0, 2, 4, 8}[flags>>6])
	if flags&singleSegment == 0 || flags>>6 == 0 { // a window, or a size of one byte
		length++
	}
	return length
}

// readFrame copies a frame to dst. It returns false if the frame is much longer than its contents, which have size bytes.
// Then it has copied only the beginning.
func readFrame(dst *bytes.Buffer, src *bufio.Reader, size uint64, checked bool) (whole bool, err error) {
	const last, repeated, blockHeader, checkSize = 1, 1, 3, 4
	most := size + size/8 + 64<<10
	b, err := src.Peek(5)
	if err != nil {
		return false, err
	}
	if _, err := io.CopyN(dst, src, frameHeaderLength(b[4])); err != nil {
		return false, err
	}
	for {
		if uint64(dst.Len()) > most {
			return false, nil
		}
		b, err := src.Peek(blockHeader)
		if err != nil {
			return false, err
		}
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		length := int64(blockHeader + head>>3)
		if head>>1&3 == repeated {
			length = blockHeader + 1
		}
		if head&last != 0 && checked {
			length += checkSize
		}
		if _, err := io.CopyN(dst, src, length); err != nil {
			return false, err
		}
		if head&last != 0 {
			return true, nil
		}
	}
}
