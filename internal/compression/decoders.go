package compression

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"

	"pix/internal/xz"
)

// guardBuffer is the number of bytes that are read at once from a compressed stream.
const guardBuffer = 64 << 10

func openZstd(src io.Reader, size uint64) (io.Reader, error) {
	if size != unlimited && size > zstdFrame && runtime.GOMAXPROCS(0) > 1 {
		return orNil[io.Reader](newZstdReader(src, size))
	}
	return lowMemoryZstd(src, size)
}

// lowMemoryZstd decodes a stream of frames, one block after the other.
func lowMemoryZstd(src io.Reader, size uint64) (io.Reader, error) {
	if size != unlimited {
		src = newZstdGuard(src, size)
	}
	// Concurrency 1: by default the decoder starts goroutines that the caller would have to stop.
	return orNil[io.Reader](zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow)))
}

func openXz(src io.Reader, size uint64) (io.Reader, error) {
	if size == unlimited {
		size = 0
	}
	return orNil[io.Reader](xz.NewReader(src, xz.Options{MaxWindow: MaxWindow, Size: size}))
}

// unexpected replaces io.EOF by io.ErrUnexpectedEOF: a caller would take the first for the end of the contents.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func openGzip(src io.Reader, _ uint64) (io.Reader, error) {
	r, err := gzip.NewReader(bufio.NewReader(src))
	return orNil[io.Reader](r, unexpected(err))
}

func openBzip2(src io.Reader, _ uint64) (io.Reader, error) {
	return bzip2.NewReader(bufio.NewReader(src)), nil
}

// openLzma decodes the old format of lzma: a byte of properties, the size of the window, the size of the
// contents or -1, and the contents.
//
// The decoder allocates the window that the header asks for. No back-reference is longer than the decompressed
// contents, so the decoder gets a header with a window that is no larger than these.
func openLzma(src io.Reader, size uint64) (io.Reader, error) {
	const windowAt, headerSize = 1, 13
	var header [headerSize]byte
	if _, err := io.ReadFull(src, header[:]); err != nil {
		return nil, unexpected(err)
	}
	window := uint64(binary.LittleEndian.Uint32(header[windowAt:]))
	window = max(min(window, size), lzma.MinDictCap)
	if window > MaxWindow {
		return nil, fmt.Errorf("lzma: decoding takes %d MiB, more than %d", window>>20, MaxWindow>>20)
	}
	binary.LittleEndian.PutUint32(header[windowAt:], uint32(window))
	config := lzma.ReaderConfig{DictCap: MaxWindow}
	r, err := config.NewReader(bufio.NewReader(&prefixed{header[:], src}))
	return orNil[io.Reader](r, unexpected(err))
}

// A prefixed reader reads some bytes, and then another reader.
type prefixed struct {
	prefix []byte
	rest   io.Reader
}

func (r *prefixed) Read(p []byte) (int, error) {
	if len(r.prefix) == 0 {
		return r.rest.Read(p)
	}
	n := copy(p, r.prefix)
	r.prefix = r.prefix[n:]
	return n, nil
}

// openLz4 decodes a sequence of lz4 frames. A block has at most 8 MiB, and back-references at most 64 KiB.
func openLz4(src io.Reader, size uint64) (io.Reader, error) {
	const largestBlock = 8 << 20
	buffered := bufio.NewReaderSize(src, guardBuffer)
	if _, err := buffered.Peek(1); err != nil {
		return nil, unexpected(err)
	}
	if size < largestBlock {
		buffered = bufio.NewReaderSize(newLz4Guard(buffered, size), guardBuffer)
	}
	return &lz4Reader{src: buffered, frame: lz4.NewReader(buffered)}, nil
}

// An lz4Reader reads frames to the end of the stream, which must not come within a frame.
type lz4Reader struct {
	src   *bufio.Reader
	frame *lz4.Reader
}

func (r *lz4Reader) Read(p []byte) (int, error) {
	for {
		n, err := r.frame.Read(p)
		if n > 0 || err == nil {
			return n, nil
		}
		if err != io.EOF {
			return 0, err
		}
		if _, err := r.src.Peek(1); err != nil {
			return 0, err
		}
		r.frame.Reset(r.src)
	}
}
